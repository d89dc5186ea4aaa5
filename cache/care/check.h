// What a check of a drive is asked, and what it found. Values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/ids.h"

namespace atl {

struct CheckOptions {
  unsigned read_percent = 0;   // of all shards' bytes that are read and verified; 0: only whether they are there
  bool repair = false;         // waits until what can be mended is
  bool from_start = false;     // reads all over again, where an earlier reading was interrupted
};

struct CheckProgress {
  enum class Step { journal, index, listing, reading, mending } step = Step::journal;
  std::uint64_t done = 0;
  std::uint64_t total = 0;
};

/// What one node was found to hold.
struct CheckedNode {
  NodeId node;
  std::string url;
  bool listed = false;         // it told all names that it holds
  std::string error;           // why not
  std::uint64_t shards = 0;    // that have their home there
  std::uint64_t missing = 0;   // of these, not there
  std::uint64_t damaged = 0;   // of these, there and not what was stored
  std::uint64_t silent = 0;    // of these, not answered for
  std::uint64_t strange = 0;   // objects of the drive there that no record explains
};

/// Files by what happens to them; the first few by name.
struct TouchedFiles {
  static constexpr std::size_t names_max = 1000;
  std::vector<std::string> names;  // paths from the drive's root
  std::uint64_t count = 0;
};

struct CheckReport {
  std::string journal_damage;     // empty: whole, its chain unbroken
  bool journal_mended = false;    // what was damaged is in a new checkpoint now, and gone from the journal
  std::uint64_t journal_records = 0;
  std::string checkpoint_damage;  // of the local one, from which the index would be made anew
  bool checkpoint_mended = false;
  std::string index_damage;       // empty: it is the journal folded, row by row
  bool index_compared = false;    // false: damage elsewhere left nothing to compare it with
  bool index_rebuilt = false;     // it was damaged or gone when the drive was opened, and made anew then
  bool index_at_mount = false;    // the next mount makes it anew
  std::uint64_t index_rows = 0;

  std::uint64_t segments = 0;  // that something lives in
  std::uint64_t shards = 0;
  std::uint64_t read_bytes = 0;
  std::optional<SegmentId> resumed_after;  // of an interrupted reading
  std::vector<CheckedNode> nodes;
  std::uint64_t found = 0;     // shards missing or damaged
  std::uint64_t left = 0;      // of these, not replaced yet
  std::uint64_t unplaced = 0;  // shards that were never stored: some node was full or away
  std::uint64_t lost_segments = 0;     // fewer good shards than needed on nodes that answer, and no whole copy here
  std::uint64_t weakened_segments = 0; // with a missing or damaged shard
  TouchedFiles lost_files;     // have a part that cannot be read now
  TouchedFiles weakened_files; // can be read

  /// Whether all that was looked at is whole, or whole again.
  bool sound() const {
    return (journal_damage.empty() || journal_mended) && (checkpoint_damage.empty() || checkpoint_mended) && index_damage.empty() &&
           left == 0 && lost_segments == 0;
  }
  /// Whether every node told all that it was asked.
  bool complete() const {
    for (const CheckedNode& node : nodes)
      if (!node.listed || node.silent > 0) return false;
    return true;
  }
};

}  // namespace atl
