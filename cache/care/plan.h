// What the shards of a drive need, and in what order. Pure functions of the index's rows and of what is known of nodes.
//
// A shard is `good` where a node that answers holds it and nothing is known against it. The margin of a segment is the
// count of its good shards less k: so many more may go. What is missing is rebuilt from any k good shards,
//   at once                 where the margin is 1 or less,
//   as soon as it is known  where a shard is gone for good (damaged, missing, its node removed or failing),
//   after the grace         where a node is only absent, and then as soon as fewer than `repair_below` are good.
// Small drives do not wait to save traffic: repair_below is n up to twelve shards, beyond r, so that a drive on many nodes
// reads k shards once for several losses. Shards that were never placed are the shipper's business.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "cache/index/rows.h"

namespace atl {

enum class NodeFate {
  present,
  leaving,   // answers, and is to be emptied
  blinked,   // has been away for a moment only: nothing is done about it yet
  away,      // may return
  overdue,   // away for longer than the grace
  lost,      // not of the drive any more, or failing its audits
};
using NodeFates = std::map<NodeId, NodeFate>;

/// Shards that were seen to be damaged or missing where they should be.
using BadShards = std::set<std::pair<AttemptId, ShardHome>>;

struct SegmentHealth {
  unsigned good = 0;               // on nodes that answer
  int margin = 0;                  // good less k
  std::vector<ShardHome> leaving;  // of these: on nodes that are to be emptied
  std::vector<ShardHome> blinked, away, overdue;
  std::vector<ShardHome> gone;     // for good
};
/// Of a segment with an attempt. A node that `fates` does not know is lost.
SegmentHealth assess(const SegmentRow& row, const NodeFates& fates, const BadShards& bad);

unsigned repair_below(std::uint8_t k, std::uint8_t protect_min, std::uint8_t n);

/// What to do about one segment.
struct CareJob {
  SegmentId segment;
  AttemptId attempt;
  int margin = 0;
  std::vector<ShardHome> rebuild;  // from any k others
  std::vector<ShardHome> move;     // as it is, from a node that still works
  bool empty() const { return rebuild.empty() && move.empty(); }
};
/// Empty if nothing is to be done, or nothing can be: too few are good.
CareJob plan_segment(SegmentId segment, const SegmentRow& row, const SegmentHealth& health, std::uint8_t protect_min);

/// The more pressing first: rebuilding before moving, the smaller margin first, then the older segment.
bool more_pressing(const CareJob& a, const CareJob& b);

/// All jobs, in order. Segments without life are left out.
std::vector<CareJob> plan_repairs(const std::map<SegmentId, SegmentRow>& segments, const NodeFates& fates, const BadShards& bad,
                                  std::uint8_t protect_min);

}  // namespace atl
