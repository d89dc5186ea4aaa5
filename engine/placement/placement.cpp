#include "engine/placement/placement.h"

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <set>
#include <string>

#include "engine/base/mutant.h"
#include "engine/placement/selection.h"

namespace atl {

namespace {

constexpr std::size_t keys_max = 16;  // the least important beyond are not looked at
constexpr std::array<std::string_view, 4> known_keys{"operator", "country", "network", "hardware"};

/// Values of labels as numbers, for each key.
class Values {
 public:
  explicit Values(std::vector<std::string> keys) : keys_(std::move(keys)), numbers_(keys_.size()) {}

  std::vector<std::size_t> of(const Labels& labels) {
    std::vector<std::size_t> values;
    for (std::size_t key = 0; key < keys_.size(); ++key) {
      const auto found = labels.find(keys_[key]);
      const std::string& text = found == labels.end() ? unknown_ : found->second;
      values.push_back(numbers_[key].try_emplace(text, numbers_[key].size()).first->second);
    }
    return values;
  }
  std::size_t keys() const { return keys_.size(); }
  std::size_t count(std::size_t key) const { return numbers_[key].size(); }

 private:
  const std::vector<std::string> keys_;
  const std::string unknown_;
  std::vector<std::map<std::string, std::size_t>> numbers_;
};

/// Random numbers below a bound; the bias of the remainder does not matter for a choice of nodes.
std::size_t below(std::size_t bound, Random& random) { return static_cast<std::size_t>(random.u64() % bound); }

template <typename T>
void shuffle(std::vector<T>& items, Random& random) {
  for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i, random)]);
}

/// Free space in powers of two: a few bytes more must not make one node the first choice for ever.
std::uint32_t cost_of(const PlacementNode& node) { return 64u - static_cast<std::uint32_t>(std::bit_width(node.free_bytes)); }

/// Keys in which the nodes differ.
std::vector<std::string> keys_that_matter(const std::set<std::string>& keys, std::span<const PlacementNode> occupied,
                                          std::span<const PlacementNode> free) {
  std::vector<std::string> result;
  for (const std::string& key : by_importance({keys.begin(), keys.end()})) {
    std::set<std::string_view> seen;
    for (const auto nodes : {occupied, free}) {
      for (const PlacementNode& node : nodes) {
        const auto found = node.labels->find(key);
        seen.insert(found == node.labels->end() ? std::string_view() : std::string_view(found->second));
      }
    }
    if (seen.size() > 1 && result.size() < keys_max) result.push_back(key);
  }
  return result;
}

}  // namespace

std::vector<std::string> by_importance(std::vector<std::string> keys) {
  std::sort(keys.begin(), keys.end(), [](const std::string& a, const std::string& b) {
    const auto rank = [](const std::string& key) { return std::find(known_keys.begin(), known_keys.end(), key) - known_keys.begin(); };
    return std::pair(rank(a), a) < std::pair(rank(b), b);
  });
  return keys;
}

std::vector<ShardHome> place_shards(std::span<const ShardIndex> shards, std::span<const PlacementNode> candidates,
                                    std::span<const PlacementNode> occupied, Random& random, std::size_t need) {
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
  // What ties after all else is decided here.
  shuffle(free, random);
  std::stable_sort(free.begin(), free.end(), [](const PlacementNode& a, const PlacementNode& b) { return cost_of(a) < cost_of(b); });

  if (mutant("labels-ignored")) keys.clear();
  Values values(keys_that_matter(keys, occupied, free));
  Selection selection;
  std::vector<std::vector<std::size_t>> occupied_values;
  for (const PlacementNode& node : occupied) occupied_values.push_back(values.of(*node.labels));
  std::map<std::vector<std::size_t>, std::size_t> kind_of;
  std::vector<std::vector<NodeId>> members;
  for (const PlacementNode& node : free) {
    auto node_values = values.of(*node.labels);
    const auto [kind, fresh] = kind_of.try_emplace(node_values, selection.kinds.size());
    if (fresh) {
      selection.kinds.push_back({std::move(node_values), {}});
      members.emplace_back();
    }
    selection.kinds[kind->second].costs.push_back(cost_of(node));
    members[kind->second].push_back(node.id);
  }
  for (std::size_t key = 0; key < values.keys(); ++key) selection.loads.emplace_back(values.count(key));
  for (const auto& node_values : occupied_values)
    for (std::size_t key = 0; key < values.keys(); ++key) ++selection.loads[key][node_values[key]];
  selection.count = std::min(shards.size(), free.size());
  const std::size_t total = selection.count + occupied.size();
  selection.limit = need == 0 ? total : total - std::min(total, need);

  std::vector<NodeId> chosen;
  const auto counts = select_nodes(selection);
  for (std::size_t kind = 0; kind < counts.size(); ++kind)
    chosen.insert(chosen.end(), members[kind].begin(), members[kind].begin() + static_cast<std::ptrdiff_t>(counts[kind]));
  shuffle(chosen, random);

  std::vector<ShardHome> homes;
  homes.reserve(chosen.size());
  for (std::size_t i = 0; i < chosen.size(); ++i) homes.push_back(ShardHome{shards[i], chosen[i]});
  return homes;
}

}  // namespace atl
