// Values that the drive's operations take and give. No FUSE types, no SQL types.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/erasure/shard_codec.h"
#include "engine/base/bytes.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/engine.h"

namespace atl {

inline constexpr InodeNumber root_inode{1};
inline constexpr std::size_t name_bytes_max = 255;
inline constexpr std::size_t symlink_bytes_max = 4095;
inline constexpr std::size_t xattr_value_bytes_max = 65536;
inline constexpr std::uint64_t file_bytes_max = std::uint64_t{1} << 50;  // 1 PiB; beyond: Code::too_large

/// An inode as stat shows it. `mode` holds type and permission bits as in <sys/stat.h>.
struct Attributes {
  InodeNumber inode;
  std::uint32_t mode = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t links = 0;
  std::uint64_t device = 0;           // of a device special file
  std::uint64_t size = 0;
  std::uint64_t allocated_bytes = 0;  // mapped to data; holes do not count
  Timestamp atime, mtime, ctime;
};

/// Who asks, for what a new inode inherits. Permission checks are the kernel's (default_permissions).
struct Caller {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t umask = 0;
};

/// A change of attributes; absent fields stay.
struct AttributeChange {
  std::optional<std::uint32_t> mode;  // permission bits only
  std::optional<std::uint32_t> uid;
  std::optional<std::uint32_t> gid;
  std::optional<std::uint64_t> size;
  std::optional<Timestamp> atime;
  std::optional<Timestamp> mtime;
  std::optional<Timestamp> ctime;  // the kernel's, under its write-back cache; else the clock's
};

struct DirectoryEntry {
  std::string_view name;
  InodeNumber inode;
  std::uint32_t mode = 0;     // type bits at least
  std::uint64_t cookie = 0;   // resume after this; stable while the entry lives, larger for later ones
  const Attributes* attributes = nullptr;  // where asked for; not for "." and ".."
};

enum class RenameMode { replace, no_replace, exchange };
enum class SeekWhat { data, hole };
enum class FallocateMode { allocate, allocate_keep_size, punch_hole, zero_range, zero_range_keep_size };
enum class SetXattrMode { create_or_replace, create, replace };

struct SpaceUsage {
  std::uint64_t capacity_bytes = 0;  // of nodes, divided by the expansion n/k
  std::uint64_t free_bytes = 0;
  std::uint64_t files = 0;
};

enum class DriveState { unmounted, recovering, ready, offline, read_only, fenced, stopping };
std::string_view to_string(DriveState state);

enum class Protection { none, reduced, protected_, full };  // fewer than k; k..r-1; r..n-1; n shards durable
std::string_view to_string(Protection protection);

/// Which values of one label may vanish alone, with all their nodes, and which not.
struct LabelSurvival {
  std::string key;
  std::vector<std::string> may_vanish;  // "": nodes without the label
  std::vector<std::string> needed;
};

/// What the drive survives, from the shards as they lie.
struct Survival {
  std::string text;      // "any 3 of 6 nodes"
  std::uint32_t any = 0; // so many nodes may vanish, whichever
  std::uint32_t of = 0;
  std::vector<LabelSurvival> labels;
};

/// What was saved on a computer after the state from which another one took the drive over.
struct Untold {
  std::uint64_t changes = 0;
  std::uint64_t files = 0;  // files and folders made or changed, that are still there
  std::uint64_t bytes = 0;  // of what was written to them, as far as it still stands
  bool complete = true;     // false: there may be more, of which nothing is known any more
  friend bool operator==(const Untold&, const Untold&) = default;
};

struct DriveStatus {
  DriveState state = DriveState::unmounted;
  std::string trouble;                   // why read_only, in a sentence; empty if all is well
  bool idle = true;                      // nothing dirty, nothing to upload or reclaim
  Redundancy redundancy;
  std::uint8_t protect_min = 0;          // r
  Protection protection = Protection::full;
  std::uint64_t staged_bytes = 0;        // only on this computer
  std::uint64_t cache_bytes = 0;
  std::uint64_t oldest_unprotected_seconds = 0;
  std::uint64_t journal_unshipped_seconds = 0;  // age of the oldest change that the nodes' journal lacks
  std::uint32_t epoch = 0;               // of ownership; 0 while nothing is known
  std::uint64_t generation = 0;          // of the newest head
  std::uint64_t metadata_requests = 0;   // asked of nodes for heads and journal since mounting
  std::optional<Untold> untold;          // of a fenced computer
  std::uint64_t logical_bytes = 0;       // sum of file sizes as mapped
  std::uint64_t stored_bytes = 0;        // on nodes
  std::uint64_t garbage_bytes = 0;       // on nodes, waiting for gc
  std::uint64_t files = 0;
  std::uint64_t applied_lsn = 0;
  std::uint64_t durable_lsn = 0;
  std::vector<NodeStatus> nodes;
  Survival survives;
  std::map<std::string, std::uint64_t> counters;
};

enum class SyncLevel { local, protected_, full };

struct SyncProgress {
  std::uint64_t bytes_total = 0;
  std::uint64_t bytes_done = 0;
};

/// What a range of a file rests on.
struct ExtentReport {
  std::uint64_t file_offset = 0;
  std::uint64_t length = 0;
  ExtentId extent;
  SegmentId segment;
  std::uint64_t segment_offset = 0;
};
struct ShardReport {
  ShardIndex shard;
  NodeId node;
  std::string node_url;
  std::string object_name;
  std::string mac_state;  // "valid", "bad", "missing", "unreachable", "unplaced"
};
struct SegmentReport {
  SegmentId segment;
  std::uint64_t bytes = 0;
  bool local = false;
  std::optional<AttemptId> attempt;
  std::vector<ShardReport> shards;
};
struct FileReport {
  Attributes attributes;
  std::vector<ExtentReport> extents;
  std::vector<SegmentReport> segments;
};

}  // namespace atl
