// The rows of the index: the journal folded. FORMAT.md, "Index". Values with one canonical encoding each, so that a
// digest over all rows is a digest of the drive's state.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/base/result.h"
#include "engine/engine.h"

namespace atl {

struct InodeRow {
  std::uint32_t mode = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t links = 0;
  std::uint64_t device = 0;
  std::uint64_t size = 0;
  std::uint64_t mapped_bytes = 0;
  std::uint64_t entries = 0;  // of a directory
  InodeNumber parent;         // of a directory
  bool has_xattrs = false;
  std::string target;  // of a symlink
  Timestamp atime, mtime, ctime;

  void encode(Bytes& out) const;
  static Result<InodeRow> decode(ByteView in);
  std::size_t weight() const { return sizeof *this + target.capacity(); }
};

/// A name in a directory.
struct EntryKey {
  InodeNumber parent;
  std::string name;
  friend auto operator<=>(const EntryKey&, const EntryKey&) = default;
};

struct EntryRow {
  InodeNumber inode;
  std::uint32_t type = 0;  // type bits of mode
  std::uint64_t cookie = 0;

  std::size_t weight() const { return sizeof *this + 48; }
};

struct XattrsRow {
  std::map<std::string, Bytes> values;

  void encode(Bytes& out) const;
  static Result<XattrsRow> decode(ByteView in);
  std::size_t weight() const {
    std::size_t bytes = sizeof *this;
    for (const auto& [name, value] : values) bytes += 96 + name.size() + value.size();
    return bytes;
  }
};

/// The map of one window of a file: [window * window_bytes, +window_bytes).
inline constexpr std::uint64_t window_bytes = 16ull * 1024 * 1024;

struct WindowKey {
  InodeNumber inode;
  std::uint64_t window = 0;
  friend auto operator<=>(const WindowKey&, const WindowKey&) = default;
};

/// A part of an extent at a place of a file. Byte-granular; pieces of a window are sorted and do not overlap, and what
/// no piece covers is a hole.
struct MapPiece {
  std::uint64_t offset = 0;  // in the file
  std::uint64_t length = 0;
  ExtentId extent;
  std::uint32_t extent_offset = 0;

  std::uint64_t end() const { return offset + length; }
  friend bool operator==(const MapPiece&, const MapPiece&) = default;
};

struct WindowRow {
  std::vector<MapPiece> pieces;

  void encode(std::uint64_t window, Bytes& out) const;
  static Result<WindowRow> decode(std::uint64_t window, ByteView in);
  std::size_t weight() const { return sizeof *this + pieces.capacity() * sizeof(MapPiece); }
};

struct ExtentRow {
  SegmentId segment;
  std::uint64_t offset = 0;  // of the frame in the segment
  std::uint32_t length = 0;  // plain bytes
  KeyEpoch epoch;
  std::uint32_t references = 0;  // pieces that show it

  void encode(Bytes& out) const;
  static Result<ExtentRow> decode(ByteView in);
  std::size_t weight() const { return sizeof *this; }
};

/// An object of a shard on a node that is not the shard's home: on its way there, or left behind.
struct Stray {
  ShardHome home;
  std::uint64_t since_seconds = 0;  // on the clock of RanFor
  friend bool operator==(const Stray&, const Stray&) = default;
};

struct SegmentRow {
  std::uint64_t bytes = 0;       // header and all frames
  std::uint64_t live_bytes = 0;  // frames of referenced extents
  std::uint32_t extents = 0;     // ever written to it
  std::uint32_t live_extents = 0;
  bool finished = false;
  Timestamp finished_at;
  bool has_attempt = false;
  AttemptId attempt;
  std::uint8_t k = 0;
  std::uint8_t n = 0;
  std::vector<ShardHome> placed;  // sorted
  std::vector<Stray> strays;      // of this attempt; sorted by home

  /// What nodes hold of it: the frames, not the local file's header.
  std::uint64_t shipped_bytes() const;
  bool full() const { return has_attempt && placed.size() == n; }
  void encode(Bytes& out) const;
  static Result<SegmentRow> decode(ByteView in);
};

/// Objects on nodes that nothing needs any more.
struct GarbageRow {
  SegmentId segment;
  std::uint8_t k = 0;
  std::uint8_t n = 0;
  std::uint64_t bytes = 0;          // of the segment
  std::uint64_t since_seconds = 0;  // on the clock of RanFor
  std::vector<ShardHome> placed;

  void encode(Bytes& out) const;
  static Result<GarbageRow> decode(ByteView in);
};

/// What there is one of.
struct VolumeRow {
  VolumeId volume;
  std::uint8_t k = 0;
  std::uint8_t n = 0;
  std::uint8_t protect_min = 0;
  std::uint64_t next_inode = 2;
  std::uint64_t next_cookie = 3;  // 1 and 2 are "." and ".."
  std::uint64_t next_extent = 1;
  std::uint64_t next_segment = 1;
  std::uint64_t files = 0;
  std::uint64_t mapped_bytes = 0;
  std::uint64_t ran_seconds = 0;
  std::set<NodeId> leaving;  // nodes that are to be emptied
  std::map<std::pair<std::uint8_t, std::uint8_t>, std::uint8_t> earlier;  // redundancies of before: {k, n} -> r

  /// From so many durable shards on a segment of this redundancy is protected. n for one that the drive never had.
  std::uint8_t protects(std::uint8_t k_of, std::uint8_t n_of) const;
  bool is_protected(const SegmentRow& row) const { return row.has_attempt && row.placed.size() >= protects(row.k, row.n); }
  void encode(Bytes& out) const;
  static Result<VolumeRow> decode(ByteView in);
};

void encode_node(const NodeSpec& node, Bytes& out);
Result<NodeSpec> decode_node(ByteView in);

}  // namespace atl

template <>
struct std::hash<atl::EntryKey> {
  std::size_t operator()(const atl::EntryKey& key) const noexcept {
    return std::hash<std::string>()(key.name) ^ std::hash<atl::InodeNumber>()(key.parent);
  }
};
template <>
struct std::hash<atl::WindowKey> {
  std::size_t operator()(const atl::WindowKey& key) const noexcept {
    return (std::hash<atl::InodeNumber>()(key.inode) + key.window) * 0x9E3779B97F4A7C15ull;
  }
};
