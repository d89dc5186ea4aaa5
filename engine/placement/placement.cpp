#include "engine/placement/placement.h"

#include <algorithm>
#include <bit>
#include <map>
#include <set>
#include <string>

namespace atl {

namespace {

/// How many shards each value of each label holds.
class Spread {
 public:
  explicit Spread(std::set<std::string> keys) : keys_(std::move(keys)) {}

  void add(const Labels& labels) {
    for (const std::string& key : keys_) ++counts_[{key, value_of(labels, key)}];
  }

  /// The loads of the label values that the node would raise, as they would then be, highest first. Lower is better.
  std::vector<std::size_t> loads_with(const Labels& labels) const {
    std::vector<std::size_t> loads;
    loads.reserve(keys_.size());
    for (const std::string& key : keys_) {
      const auto found = counts_.find({key, value_of(labels, key)});
      loads.push_back(1 + (found == counts_.end() ? 0 : found->second));
    }
    std::sort(loads.begin(), loads.end(), std::greater<>());
    return loads;
  }

 private:
  static std::string value_of(const Labels& labels, const std::string& key) {
    const auto found = labels.find(key);
    return found == labels.end() ? std::string() : found->second;
  }

  std::set<std::string> keys_;
  std::map<std::pair<std::string, std::string>, std::size_t> counts_;
};

/// Random numbers below a bound; the bias of the remainder does not matter for a choice of nodes.
std::size_t below(std::size_t bound, Random& random) { return static_cast<std::size_t>(random.u64() % bound); }

template <typename T>
void shuffle(std::vector<T>& items, Random& random) {
  for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i, random)]);
}

}  // namespace

std::vector<ShardHome> place_shards(std::span<const ShardIndex> shards, std::span<const PlacementNode> candidates,
                                    std::span<const PlacementNode> occupied, Random& random) {
  std::set<std::string> keys;
  std::set<NodeId> taken;
  for (const PlacementNode& node : occupied) {
    taken.insert(node.id);
    for (const auto& label : *node.labels) keys.insert(label.first);
  }
  std::vector<PlacementNode> free;
  for (const PlacementNode& node : candidates) {
    if (!taken.insert(node.id).second) continue;
    free.push_back(node);
    for (const auto& label : *node.labels) keys.insert(label.first);
  }
  Spread spread(std::move(keys));
  for (const PlacementNode& node : occupied) spread.add(*node.labels);

  shuffle(free, random);  // what ties after all else is decided here
  std::vector<NodeId> chosen;
  const std::size_t count = std::min(shards.size(), free.size());
  while (chosen.size() < count) {
    // Free space in powers of two: a few bytes more must not make one node the first choice for ever.
    const auto key = [&](const PlacementNode& node) {
      return std::pair(spread.loads_with(*node.labels), -static_cast<int>(std::bit_width(node.free_bytes)));
    };
    auto best = free.begin();
    auto best_key = key(*best);
    for (auto node = std::next(best); node != free.end(); ++node) {
      if (auto node_key = key(*node); node_key < best_key) {
        best = node;
        best_key = std::move(node_key);
      }
    }
    spread.add(*best->labels);
    chosen.push_back(best->id);
    free.erase(best);
  }
  shuffle(chosen, random);

  std::vector<ShardHome> homes;
  homes.reserve(chosen.size());
  for (std::size_t i = 0; i < chosen.size(); ++i) homes.push_back(ShardHome{shards[i], chosen[i]});
  return homes;
}

}  // namespace atl
