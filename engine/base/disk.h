// The local disk, passed in, so that tests can drop what was never flushed, tear writes and refuse them.
//
// Paths are absolute. Every call may block on the disk. Thread-safe; calls on one File too, where they touch
// different ranges. Errors: Code::not_found, exists, no_space, io (with os_error), read_only, access_denied.
//
// Durability is what POSIX promises, no more: bytes after File::sync, a created, renamed or removed name after
// sync_directory on its parent.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/result.h"

namespace atl {

/// An open file. Closed by its destructor.
class File {
 public:
  virtual ~File() = default;
  /// Reads up to out.size() bytes at `offset`; fewer only at the end of the file. Returns the count.
  virtual Result<std::size_t> read(std::uint64_t offset, MutableBytes out) = 0;
  /// Writes all of `in` at `offset`, or fails; after a failure any part may have been written.
  virtual Result<> write(std::uint64_t offset, ByteView in) = 0;
  /// Like write, of several pieces one after the other. This one calls write for each; a disk that can do better does.
  virtual Result<> write_gather(std::uint64_t offset, std::span<const ByteView> pieces);
  /// Makes the content, and the size, durable (fdatasync). After a failure the content since the last success is
  /// unknown for ever: never call again as if it could succeed.
  virtual Result<> sync() = 0;
  virtual Result<std::uint64_t> size() = 0;
  virtual Result<> truncate(std::uint64_t size) = 0;
  /// Reserves disk blocks for [0, size) and extends the file to it; new bytes read as zeros.
  virtual Result<> allocate(std::uint64_t size) = 0;
  /// Gives back the disk blocks of a range, which then reads as zeros.
  virtual Result<> punch(std::uint64_t offset, std::uint64_t length) = 0;
  /// Bytes of disk that the file occupies.
  virtual Result<std::uint64_t> allocated() = 0;
  /// Maps [offset, offset + length) for reading, for as long as the returned owner lives; Code::unsupported where a disk
  /// cannot, and the caller reads instead.
  virtual Result<std::shared_ptr<const std::uint8_t>> map(std::uint64_t offset, std::uint64_t length) = 0;
};

enum class OpenMode {
  read,            // must exist
  write,           // must exist; reading and writing
  create,          // created if absent, mode 0600; reading and writing
  create_new,      // Code::exists if there
};

struct DiskUsage {
  std::uint64_t capacity_bytes = 0;
  std::uint64_t free_bytes = 0;     // for this user
  std::uint64_t device = 0;         // equal for two paths on one file system
};

class Disk {
 public:
  virtual ~Disk() = default;
  virtual Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) = 0;
  /// Replaces `to` if it is there.
  virtual Result<> rename(const std::string& from, const std::string& to) = 0;
  /// Gives the file at `from` a second name; Code::exists if `to` is taken.
  virtual Result<> link(const std::string& from, const std::string& to) = 0;
  /// Like rename, but never replaces: Code::exists if `to` is taken. Atomic: `to` never shows half a file. This one
  /// links and removes, so that a crash between may leave both names; a disk that can do better does.
  virtual Result<> rename_new(const std::string& from, const std::string& to);
  /// Removes a file's name, or an empty directory.
  virtual Result<> remove(const std::string& path) = 0;
  /// Creates a directory, mode 0700; success if it is there already. The parent must exist.
  virtual Result<> make_directory(const std::string& path) = 0;
  virtual Result<> sync_directory(const std::string& path) = 0;
  /// Names in a directory without "." and "..", in byte order.
  virtual Result<std::vector<std::string>> list(const std::string& path) = 0;
  virtual Result<bool> exists(const std::string& path) = 0;
  virtual Result<DiskUsage> usage(const std::string& path) = 0;
};

/// Reads a whole file of at most `limit` bytes; Code::too_large beyond.
Result<Bytes> read_file(Disk& disk, const std::string& path, std::uint64_t limit);

/// Replaces `path` with `content` so that after a crash either the old or the new stands, and durably the new once
/// this returns: temporary name (`path` and ".new"), sync, rename, sync of the directory. One caller a path at a time.
Result<> replace_file(Disk& disk, const std::string& path, ByteView content);

}  // namespace atl
