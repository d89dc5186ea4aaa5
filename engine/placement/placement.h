// Which node gets which shard of a segment. A pure function of its arguments and the random source.
//
// One shard a node. Labels are spread as evenly as a step-by-step choice can: each step takes the node that keeps the
// most loaded label values lowest, then the one with clearly more free space, then any. A node without a label that
// others have counts as sharing one unknown value of it with all such nodes. Which of the chosen nodes gets which
// shard is random, so that no node is read more than others.
#pragma once

#include <span>
#include <vector>

#include "engine/base/random.h"
#include "engine/engine.h"

namespace atl {

/// A node that could take a shard. `labels` outlives the call.
struct PlacementNode {
  NodeId id;
  const Labels* labels = nullptr;
  std::uint64_t free_bytes = 0;
};

/// Homes for as many of `shards` as there are candidates, in the order of `shards`. `occupied`: nodes that hold other
/// shards of the same attempt; they weigh in the spread and are never chosen. Thread-safe.
std::vector<ShardHome> place_shards(std::span<const ShardIndex> shards, std::span<const PlacementNode> candidates,
                                    std::span<const PlacementNode> occupied, Random& random);

}  // namespace atl
