// The records of the journal: everything that can happen to a drive, with every id and time that folding needs.
//
// Encoded as type (u8) | payload length (varint) | payload; FORMAT.md, "Records". Values; free to copy.
// decode_records never trusts its input: Code::corrupt for anything malformed, newer_format for an unknown type.
#pragma once

#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/clock.h"
#include "engine/base/codec.h"
#include "engine/base/ids.h"
#include "engine/base/result.h"
#include "engine/engine.h"

namespace atl {

/// The first record of every drive: its root directory.
struct VolumeMade {
  VolumeId volume;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  Timestamp time;
};

struct RedundancySet {
  std::uint8_t k = 0;
  std::uint8_t n = 0;
  std::uint8_t protect_min = 0;
};

struct NodeAdded {
  NodeSpec spec;
};

struct InodeMade {
  InodeNumber inode;
  InodeNumber parent;
  std::string name;
  std::uint64_t cookie = 0;
  std::uint32_t mode = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t device = 0;
  std::string target;  // of a symlink
  Timestamp time;
  std::vector<std::pair<std::string, Bytes>> xattrs;  // inherited ACLs
};

struct Linked {
  InodeNumber inode;
  InodeNumber parent;
  std::string name;
  std::uint64_t cookie = 0;
  Timestamp time;
};

/// A name is gone; the inode stays until Purged.
struct Unlinked {
  InodeNumber parent;
  std::string name;
  InodeNumber inode;
  Timestamp time;
};

/// `replaced` is the inode that lost the name `to_name`, 0 if none.
struct Renamed {
  InodeNumber from;
  std::string from_name;
  InodeNumber to;
  std::string to_name;
  InodeNumber inode;
  InodeNumber replaced;
  std::uint64_t cookie = 0;
  bool exchange = false;  // `replaced` takes the name from_name
  Timestamp time;
};

/// Fields are present as `mask` says.
struct AttributesSet {
  enum Mask : std::uint8_t { mode_bit = 1, uid_bit = 2, gid_bit = 4, size_bit = 8, atime_bit = 16, mtime_bit = 32, ctime_bit = 64 };
  InodeNumber inode;
  std::uint8_t mask = 0;
  std::uint32_t mode = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t size = 0;
  Timestamp atime, mtime, ctime;
};

/// A new extent, mapped as a whole at `offset` of a file.
struct Written {
  InodeNumber inode;
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
  ExtentId extent;
  SegmentId segment;
  std::uint64_t segment_offset = 0;  // of the extent's frame
  KeyEpoch epoch;
  Timestamp time;  // all zero: the file's times stay
};

/// Parts of known extents, mapped one after another from `offset` on; extent 0 is a hole.
struct Shared {
  struct Piece {
    std::uint64_t length = 0;
    ExtentId extent;
    std::uint32_t extent_offset = 0;
  };
  InodeNumber inode;
  std::uint64_t offset = 0;
  std::vector<Piece> pieces;
  Timestamp time;
};

struct Punched {
  InodeNumber inode;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  Timestamp time;
};

/// `mode` as it stands with the attribute (an ACL changes it).
struct XattrSet {
  InodeNumber inode;
  std::string name;
  Bytes value;
  std::uint32_t mode = 0;
  Timestamp time;
};

struct XattrRemoved {
  InodeNumber inode;
  std::string name;
  Timestamp time;
};

/// An inode without names and users is gone, and its extents with it.
struct Purged {
  InodeNumber inode;
};

/// No extent will be added; the segment is `bytes` long.
struct SegmentFinished {
  SegmentId segment;
  std::uint64_t bytes = 0;
  Timestamp time;
};

/// Objects of this attempt may exist on nodes from now on.
struct UploadIntended {
  SegmentId segment;
  AttemptId attempt;
  std::uint8_t k = 0;
  std::uint8_t n = 0;
};

struct ShardPlaced {
  SegmentId segment;
  AttemptId attempt;
  ShardHome home;
};

/// Extents copied to another segment. Each applies only if its old place still stands.
struct Relocated {
  struct Move {
    ExtentId extent;
    std::uint64_t old_offset = 0;
    std::uint64_t new_offset = 0;
  };
  SegmentId from;
  SegmentId to;
  std::vector<Move> moves;
};

/// A segment in which nothing lives is gone; its objects, if any, are garbage since `running_seconds`.
struct SegmentDropped {
  SegmentId segment;
  std::uint64_t running_seconds = 0;
};

/// All objects of an attempt are gone from nodes.
struct GarbageRemoved {
  AttemptId attempt;
};

/// How long drives were mounted in all: a clock that no wall clock can set forward.
struct RanFor {
  std::uint64_t seconds = 0;
};

/// An object of this shard may lie on the node from now on, without being the shard's home.
struct ShardMoving {
  SegmentId segment;
  AttemptId attempt;
  ShardHome home;
  std::uint64_t running_seconds = 0;
};

/// The shard is durable on another node. Applies only if the old home still stands, whose object is a stray from then on.
struct ShardMoved {
  SegmentId segment;
  AttemptId attempt;
  ShardIndex shard;
  NodeId from;
  NodeId to;
  std::uint64_t running_seconds = 0;
};

/// The object of a shard on a node that is not its home is gone.
struct StrayRemoved {
  SegmentId segment;
  AttemptId attempt;
  ShardHome home;
};

/// The node is to be emptied: it gets nothing new, and what it holds moves elsewhere. Or no longer.
struct NodeLeaving {
  NodeId node;
  bool leaving = false;
};

/// The node is not of the drive any more. What may still lie there is not looked after from then on.
struct NodeRemoved {
  NodeId node;
};

/// Objects of an attempt that no segment of this history has may lie on nodes, and nothing needs them: another computer
/// uploaded them before its drive was taken over from there. They are garbage since `running_seconds`.
struct AttemptLeft {
  SegmentId segment;  // what it was there
  AttemptId attempt;
  std::uint8_t k = 0;
  std::uint8_t n = 0;
  std::uint64_t bytes = 0;  // of the segment
  std::uint64_t running_seconds = 0;
};

using Record = std::variant<VolumeMade, RedundancySet, NodeAdded, InodeMade, Linked, Unlinked, Renamed, AttributesSet, Written,
                            Shared, Punched, XattrSet, XattrRemoved, Purged, SegmentFinished, UploadIntended, ShardPlaced,
                            Relocated, SegmentDropped, GarbageRemoved, RanFor, ShardMoving, ShardMoved,
                            StrayRemoved, NodeLeaving, NodeRemoved, AttemptLeft>;

/// Appends one record.
void encode_record(const Record& record, Bytes& out);
/// Shows the records of a batch in order; an error of the visitor ends it and is returned.
Result<> decode_records(ByteView body, const std::function<Result<>(const Record&)>& visit);
/// One line for people: "renamed 12/'a' -> 14/'b' (inode 20)".
std::string describe(const Record& record);

}  // namespace atl
