// A disk in memory that knows what a power cut may take.
//
// It records, per file, what was written since the last successful sync and, per directory, which names changed since
// its last sync_directory. crash() makes the disk as it may look after the power came back: unflushed writes dropped,
// kept or torn at 512 bytes independently of their order; unflushed names lost or kept (a rename: old or new, never
// neither); what was written before a failed sync in doubt for ever. A rename between directories is certain only once
// both are flushed. Faults are injected by rule or by the number of a call.
// Thread-safe. Files stay usable while the disk lives. The rule is called without locks and may call crash().
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "engine/base/disk.h"

namespace atl {

class MemoryDisk : public Disk {
 public:
  static constexpr std::size_t sector_bytes = 512;

  /// A disk with "/" alone.
  explicit MemoryDisk(std::uint64_t capacity_bytes = std::uint64_t{1} << 40);
  ~MemoryDisk() override;
  MemoryDisk(const MemoryDisk&) = delete;
  MemoryDisk& operator=(const MemoryDisk&) = delete;

  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Result<> rename(const std::string& from, const std::string& to) override;
  Result<> link(const std::string& from, const std::string& to) override;
  Result<> remove(const std::string& path) override;
  Result<> make_directory(const std::string& path) override;
  Result<> sync_directory(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& path) override;
  Result<bool> exists(const std::string& path) override;
  Result<DiskUsage> usage(const std::string& path) override;

  enum class Unflushed { drop, keep, draw };
  /// The disk after a power cut now; `seed` decides where Unflushed::draw leaves a choice. This disk is unchanged.
  std::unique_ptr<MemoryDisk> crash(Unflushed policy, std::uint64_t seed = 0) const;
  /// As crash(): mostly draws, now and then drops or keeps everything, as the seed says.
  std::unique_ptr<MemoryDisk> crash(std::uint64_t seed) const;
  /// An exact copy, flushed state included.
  std::unique_ptr<MemoryDisk> clone() const;

  enum Operation : std::uint32_t {
    op_open = 1u << 0,  // of what exists
    op_create = 1u << 1,
    op_read = 1u << 2,  // also map
    op_write = 1u << 3,
    op_sync = 1u << 4,
    op_truncate = 1u << 5,
    op_allocate = 1u << 6,
    op_punch = 1u << 7,
    op_rename = 1u << 8,  // also link
    op_remove = 1u << 9,
    op_make_directory = 1u << 10,
    op_sync_directory = 1u << 11,
    op_list = 1u << 12,  // also exists, usage, size, allocated
    op_changes =
        op_create | op_write | op_truncate | op_allocate | op_punch | op_rename | op_remove | op_make_directory,
    op_all = ~0u,
  };
  struct Call {
    Operation operation;
    std::string path;      // as the file was opened under
    std::uint64_t number;  // 1 is the first call since the disk was made
  };
  struct Fault {
    Code code = Code::io;
    bool partly = false;  // a write leaves its first half, an allocation half its size; else nothing happens
    bool wholly = false;  // the change happens, and yet the call fails
  };
  /// Asked before every call; replaces an earlier rule. An empty function ends the faults.
  void set_fault_rule(std::function<std::optional<Fault>(const Call&)> rule);
  /// The `nth` call from now (1 is the next) among `operations` fails, once.
  void fail_call(std::uint64_t nth, Fault fault, std::uint32_t operations = op_all);
  /// From the `nth` changing or syncing call from now on every call fails with Code::io, as if the power had gone: the
  /// call itself may happen in part. Then crash().
  void power_off_at(std::uint64_t nth, bool partly = true);
  void clear_faults() { set_fault_rule({}); }

  /// Calls so far, and those among them that changed or flushed something.
  std::uint64_t calls() const;
  std::uint64_t changes() const;
  std::uint64_t syncs(const std::string& path) const;  // successful ones of the file that now has this name

  /// The whole content of a file as a reader sees it now; no call is counted, no fault asked. Throws if absent.
  Bytes content(const std::string& path) const;
  /// Writes over a file's durable content, as bit rot or an enemy does. The file may grow. Throws if absent.
  void damage(const std::string& path, std::uint64_t offset, ByteView bytes);
  /// Cuts or extends a file durably, likewise.
  void cut(const std::string& path, std::uint64_t size);
  /// All files by path with their content, for comparing two disks.
  std::vector<std::pair<std::string, Bytes>> snapshot() const;

 private:
  friend class MemoryFile;
  struct State;
  explicit MemoryDisk(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace atl
