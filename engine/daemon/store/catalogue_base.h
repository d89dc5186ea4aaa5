// The folded part of a catalogue: every object that was there at one moment, sorted, in a file that never changes; with
// the trash and the totals of that moment. Memory holds one key per 4 KiB of it. FORMAT.md describes the bytes.
// Readers are immutable and thread-safe. Errors: corrupt where sums do not fit, newer_format, others as Disk.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/disk.h"
#include "engine/daemon/store/object_store.h"

namespace atl {

/// Names an object among all: the account's 32 bytes, then the name. Sorts by account, then name.
using ObjectKey = std::string;

ObjectKey object_key(const AccountId& account, std::string_view name);
AccountId account_of(std::string_view key);
inline std::string_view name_of(std::string_view key) { return key.substr(AccountId::size); }

struct LiveObject {
  std::uint64_t id = 0;  // never 0 for an object
  std::uint64_t size = 0;
};

enum class TrashReason : std::uint8_t { removed = 1, rotten = 2 };

struct TrashObject {
  std::uint64_t since_s = 0;  // on the store's own clock, which counts while it is open
  std::uint64_t id = 0;
  AccountId account;
  std::uint64_t size = 0;
  TrashReason reason = TrashReason::removed;
};

struct AccountTotals {
  std::uint64_t used_bytes = 0;
  std::uint64_t objects = 0;
  std::uint64_t trash_bytes = 0;
  std::uint64_t trash_objects = 0;
};

/// What a base says beside its objects.
struct BaseFacts {
  std::uint64_t next_id = 1;
  std::uint64_t floor_id = 1;  // whatever has a lower number and is not named is no leftover of a crash
  std::uint64_t clock_s = 0;
  std::vector<TrashObject> trash;                            // by since_s, id
  std::vector<std::pair<AccountId, AccountTotals>> totals;   // of live objects only
};

class CatalogueBase {
 public:
  struct Entry {
    ObjectKey key;
    LiveObject object;
  };

  /// Opens FOLDER/base-NUMBER. `facts` is filled if not null.
  static Result<std::shared_ptr<const CatalogueBase>> open(Disk& disk, const std::string& folder, std::uint64_t number,
                                                           BaseFacts* facts);
  /// The base of an empty store, number 0, which has no file.
  static std::shared_ptr<const CatalogueBase> none();

  std::uint64_t number() const { return number_; }
  std::uint64_t count() const { return count_; }
  std::uint64_t file_bytes() const { return file_bytes_; }
  Result<std::optional<LiveObject>> find(std::string_view key) const;
  /// Reads all of it. Code::corrupt if any block is damaged.
  Result<> check() const;

  /// Walks entries in order. One thread at a time; the base outlives it.
  class Cursor {
   public:
    explicit Cursor(const CatalogueBase& base) : base_(base) {}
    /// To the first entry whose key is `from` or later.
    Result<> seek(std::string_view from);
    /// Null at the end. Valid until the next call.
    const Entry* entry() const { return at_ < entries_.size() ? &entries_[at_] : nullptr; }
    Result<> next();

   private:
    const CatalogueBase& base_;
    std::size_t block_ = 0;  // of entries_
    std::vector<Entry> entries_;
    std::size_t at_ = 0;
  };

 private:
  friend class Cursor;
  struct Block {
    ObjectKey first;
    std::uint64_t offset = 0;
    std::uint32_t length = 0;
  };
  CatalogueBase() = default;
  Result<std::vector<Entry>> load(std::size_t block) const;
  /// The last block whose first key is not after `key`; blocks_.size() if there is none.
  std::size_t block_of(std::string_view key) const;

  std::unique_ptr<File> file_;
  std::string path_;
  std::uint64_t number_ = 0;
  std::uint64_t count_ = 0;
  std::uint64_t file_bytes_ = 0;
  std::vector<Block> blocks_;
};

/// Writes a base. Nothing has its name before finish() succeeds, which makes it durable.
class CatalogueBaseWriter {
 public:
  static Result<std::unique_ptr<CatalogueBaseWriter>> create(Disk& disk, const std::string& folder,
                                                             std::uint64_t number);
  /// Keys strictly ascending.
  Result<> add(std::string_view key, const LiveObject& object);
  Result<> finish(const BaseFacts& facts);

 private:
  CatalogueBaseWriter(Disk& disk, std::string folder, std::uint64_t number, std::unique_ptr<File> file)
      : disk_(disk), folder_(std::move(folder)), number_(number), file_(std::move(file)) {}
  Result<> end_block();
  Result<> frame(std::uint8_t type, ByteView payload);
  Result<> write_out();

  Disk& disk_;
  const std::string folder_;
  const std::uint64_t number_;
  const std::unique_ptr<File> file_;
  std::uint64_t written_ = 0;  // bytes in the file; out_ follows
  Bytes out_;
  Bytes block_;
  ObjectKey last_;
  std::uint64_t count_ = 0;
  struct Place {
    ObjectKey first;
    std::uint64_t offset;
    std::uint64_t length;
  };
  std::vector<Place> places_;
};

std::string base_path(const std::string& folder, std::uint64_t number);

}  // namespace atl
