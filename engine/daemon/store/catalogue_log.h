// What changed in a catalogue since its base: an append-only file of batches, each with its sum, each flushed before
// anyone hears of it. Only the last batch can be torn by a crash; damage before a whole batch is rot. Zeros always follow
// the last batch, flushed before it is written: a file that ends within a batch, or right behind one, was cut by something
// else, and is damaged.
// Not thread-safe. Errors: corrupt, newer_format, others as Disk.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "engine/base/disk.h"
#include "engine/daemon/store/catalogue_base.h"

namespace atl {

/// One change of a catalogue.
struct CatalogueChange {
  enum class Kind : std::uint8_t {
    put = 1,     // the object id, size stands under key
    trash = 2,   // the object id leaves key for the trash, at clock_s, for a reason
    forget = 3,  // the object id, thrown away at clock_s, leaves the trash
    clock = 4,   // the store's clock stands at clock_s
  };
  Kind kind = Kind::put;
  ObjectKey key;  // of put and trash
  std::uint64_t id = 0;
  std::uint64_t size = 0;  // of put and trash
  std::uint64_t clock_s = 0;
  TrashReason reason = TrashReason::removed;
};

Bytes encode_changes(const std::vector<CatalogueChange>& changes);

std::string log_path(const std::string& folder, std::uint64_t number);

class CatalogueLog {
 public:
  using Visit = std::function<void(const CatalogueChange&)>;

  /// An empty log, durable once this returns. Replaces one of the same number.
  static Result<std::unique_ptr<CatalogueLog>> create(Disk& disk, const std::string& folder, std::uint64_t number);
  /// Reads all whole batches. Returns the length of what they take up; `whole` tells whether nothing but zeros follows.
  static Result<std::uint64_t> replay(Disk& disk, const std::string& folder, std::uint64_t number, const Visit& visit,
                                      bool* whole);
  /// A new file of the same name with the first `length` bytes of the old one, durable once this returns: what lies
  /// behind them, or was in doubt after a failed flush, is gone.
  static Result<std::unique_ptr<CatalogueLog>> renew(Disk& disk, const std::string& folder, std::uint64_t number,
                                                     std::uint64_t length);

  /// Appends a batch, durable once this returns. After a failure only renew() helps.
  Result<> append(ByteView changes);
  std::uint64_t number() const { return number_; }
  /// Of the batches that were appended, or there at the start.
  std::uint64_t length() const { return length_; }

 private:
  CatalogueLog(std::unique_ptr<File> file, std::uint64_t number, std::uint64_t length, std::uint64_t end)
      : file_(std::move(file)), number_(number), length_(length), end_(end) {}

  const std::unique_ptr<File> file_;
  const std::uint64_t number_;
  std::uint64_t length_;
  std::uint64_t end_;  // of the file, zeros and all
};

}  // namespace atl
