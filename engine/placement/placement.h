// Which node gets which shard of a segment. A pure function of its arguments and the random source.
//
// One shard a node. Where the nodes allow it, no value of any label gets more shards than may be lost, so that the loss
// of any one country, operator or network is survived (selection.h says how that is found). Where the keys conflict,
// the more important one decides: operator, country, network, hardware, then others by name. Then labels are spread
// evenly, and nodes with clearly more free space preferred. A node without a label that others have counts as sharing
// one unknown value of it with all such nodes. Which of the chosen nodes gets which shard is random, so that no node is
// read more than others.
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
/// shards of the same attempt; they weigh in the spread and are never chosen. `need`: so many shards must outlive the
/// loss of a label's value; 0: labels are only spread evenly. Thread-safe.
std::vector<ShardHome> place_shards(std::span<const ShardIndex> shards, std::span<const PlacementNode> candidates,
                                    std::span<const PlacementNode> occupied, Random& random, std::size_t need = 0);

/// The keys of labels, the most important first.
std::vector<std::string> by_importance(std::vector<std::string> keys);

}  // namespace atl
