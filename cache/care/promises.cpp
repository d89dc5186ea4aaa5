#include "cache/care/promises.h"

#include <algorithm>
#include <map>

#include "engine/placement/placement.h"

namespace atl {

bool any_value_may_go(const std::vector<NodeSpec>& nodes, const std::string& label, Redundancy redundancy) {
  std::map<std::string, std::size_t> nodes_of;
  for (const NodeSpec& node : nodes) {
    const auto found = node.labels.find(label);
    ++nodes_of[found == node.labels.end() ? std::string() : found->second];
  }
  const std::size_t may_be_lost = redundancy.n - redundancy.k;
  std::size_t places = 0;
  for (const auto& [value, count] : nodes_of) places += std::min(count, may_be_lost);
  return places >= redundancy.n;
}

std::optional<std::string> promise_broken_without(const std::vector<NodeSpec>& nodes, const NodeId& leaver, Redundancy redundancy) {
  std::vector<NodeSpec> others = nodes;
  std::erase_if(others, [&](const NodeSpec& node) { return node.id == leaver; });
  if (others.size() < redundancy.n)
    return "each segment has " + std::to_string(redundancy.n) + " shards on nodes of their own, and " + std::to_string(others.size()) +
           " nodes would be left";
  std::vector<std::string> keys;
  for (const NodeSpec& node : nodes)
    for (const auto& [key, value] : node.labels)
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
  for (const std::string& key : by_importance(keys))
    if (any_value_may_go(nodes, key, redundancy) && !any_value_may_go(others, key, redundancy))
      return "the loss of all nodes of any one " + key + " can be survived now, and could not without it";
  return std::nullopt;
}

}  // namespace atl
