// Bytes that were written and not yet sealed, by file: the newest layer of a file's content.
//
// Ranges never overlap and never cross a multiple of extent_bytes_max, so that each becomes at most one extent; writes
// that continue a range grow it. Not thread-safe: guarded by the drive's state lock.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"

namespace atl {

class DirtyFiles {
 public:
  struct Range {
    InodeNumber inode;
    std::uint64_t offset = 0;
    Bytes bytes;
    std::optional<Timestamp> written_at;  // of the file; none if its times are logged already
  };

  /// Bytes [offset, +in.size()) of a file are now these, written at `time`; none leaves its times alone. `in` is not empty.
  void put(InodeNumber inode, std::uint64_t offset, ByteView in, const std::optional<Timestamp>& time);
  /// Forgets [offset, +length) of a file: truncated, punched, or written elsewhere.
  void cut(InodeNumber inode, std::uint64_t offset, std::uint64_t length);
  void drop(InodeNumber inode);

  /// Shows what lies in [offset, +length), in order.
  void each_in(InodeNumber inode, std::uint64_t offset, std::uint64_t length,
               const std::function<void(std::uint64_t offset, ByteView bytes)>& visit) const;
  /// One past the last dirty byte of a file, 0 if none.
  std::uint64_t end(InodeNumber inode) const;
  /// Where the first dirty byte at or after `offset` is.
  std::optional<std::uint64_t> next(InodeNumber inode, std::uint64_t offset) const;
  std::uint64_t bytes_of(InodeNumber inode) const;
  bool has(InodeNumber inode) const { return files_.contains(inode); }
  /// When a file was last written, unless that was logged or overruled: then it has been taken.
  std::optional<Timestamp> written_at(InodeNumber inode) const;
  std::optional<Timestamp> take_written_at(InodeNumber inode);

  /// Lengths of all ranges, in the order in which take_all() gives them.
  std::vector<std::uint32_t> lengths() const;
  std::vector<Range> take_all();

  std::uint64_t bytes() const { return bytes_; }
  bool empty() const { return files_.empty(); }

 private:
  using Ranges = std::map<std::uint64_t, Bytes>;
  struct File {
    Ranges ranges;
    std::optional<Timestamp> written_at;
  };

  void put_in_block(Ranges& ranges, std::uint64_t offset, ByteView in);
  void cut_in(Ranges& ranges, std::uint64_t offset, std::uint64_t end);

  // Ordered, so that files flushed together lie together in the order of their making.
  std::map<InodeNumber, File> files_;
  std::uint64_t bytes_ = 0;
};

}  // namespace atl
