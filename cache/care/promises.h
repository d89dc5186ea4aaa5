// What a drive's nodes let it promise, and what of it breaks when one leaves. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cache/erasure/shard_codec.h"
#include "engine/engine.h"

namespace atl {

/// Whether n shards, one a node, can lie so that the loss of any one value of the label leaves k. Nodes without the label
/// count as one value of it.
bool any_value_may_go(const std::vector<NodeSpec>& nodes, const std::string& label, Redundancy redundancy);

/// The promise that `nodes` keep and no longer keep without `leaver`, as a sentence for people: a node for each shard, or
/// the survival of any one country, operator, ... Absent if none breaks.
std::optional<std::string> promise_broken_without(const std::vector<NodeSpec>& nodes, const NodeId& leaver, Redundancy redundancy);

}  // namespace atl
