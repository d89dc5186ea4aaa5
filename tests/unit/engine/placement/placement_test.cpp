#include "engine/placement/placement.h"

#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "tests/support/seeded_random.h"

using namespace atl;

namespace {

struct World {
  std::vector<NodeId> ids;
  std::vector<Labels> labels;
  std::vector<std::uint64_t> free_bytes;

  std::size_t add(Labels node_labels, std::uint64_t free = 1 << 30) {
    NodeId id;
    id.bytes[0] = static_cast<std::uint8_t>(ids.size());
    id.bytes[1] = static_cast<std::uint8_t>(ids.size() >> 8);
    ids.push_back(id);
    labels.push_back(std::move(node_labels));
    free_bytes.push_back(free);
    return ids.size() - 1;
  }
  PlacementNode node(std::size_t i) const { return PlacementNode{ids[i], &labels[i], free_bytes[i]}; }
  std::vector<PlacementNode> all() const {
    std::vector<PlacementNode> nodes;
    for (std::size_t i = 0; i < ids.size(); ++i) nodes.push_back(node(i));
    return nodes;
  }
  std::size_t index_of(const NodeId& id) const { return id.bytes[0] + 256u * id.bytes[1]; }
  std::map<std::string, std::size_t> loads(const std::vector<ShardHome>& homes, const std::string& key) const {
    std::map<std::string, std::size_t> counts;
    for (const ShardHome& home : homes) {
      const Labels& node_labels = labels[index_of(home.node)];
      const auto label = node_labels.find(key);
      ++counts[label == node_labels.end() ? "" : label->second];
    }
    return counts;
  }
};

std::vector<ShardIndex> shards(std::size_t count) {
  std::vector<ShardIndex> result;
  for (std::size_t i = 0; i < count; ++i) result.emplace_back(static_cast<std::uint8_t>(i));
  return result;
}

std::size_t largest(const std::map<std::string, std::size_t>& counts) {
  std::size_t most = 0;
  for (const auto& entry : counts) most = std::max(most, entry.second);
  return most;
}

}  // namespace

TEST_CASE("Every shard gets a node of its own, as long as there are nodes") {
  CHECK(rc::check([](std::uint64_t seed) {
    SeededRandom random(seed);
    World world;
    const auto nodes = random.below(40);
    for (std::uint64_t i = 0; i < nodes; ++i)
      world.add({{"country", std::to_string(random.below(5))}}, random.below(std::uint64_t{1} << 40));
    const std::size_t occupied_count = nodes == 0 ? 0 : random.below(nodes);
    std::vector<PlacementNode> occupied;
    for (std::size_t i = 0; i < occupied_count; ++i) occupied.push_back(world.node(i));
    const auto wanted = shards(1 + random.below(20));
    const auto homes = place_shards(wanted, world.all(), occupied, random);
    RC_ASSERT(homes.size() == std::min(wanted.size(), static_cast<std::size_t>(nodes) - occupied_count));
    std::set<NodeId> used;
    for (std::size_t i = 0; i < homes.size(); ++i) {
      RC_ASSERT(homes[i].shard == wanted[i]);
      RC_ASSERT(used.insert(homes[i].node).second);
      RC_ASSERT(world.index_of(homes[i].node) >= occupied_count);
    }
  }));
}

TEST_CASE("No label value holds more shards than an even spread would give it") {
  CHECK(rc::check([](std::uint64_t seed) {
    SeededRandom random(seed);
    World world;
    std::vector<std::size_t> sizes(1 + random.below(6));
    for (std::size_t country = 0; country < sizes.size(); ++country) {
      sizes[country] = 1 + random.below(6);
      for (std::size_t i = 0; i < sizes[country]; ++i) world.add({{"country", std::to_string(country)}}, random.u64());
    }
    const std::size_t count = 1 + random.below(world.ids.size());
    const auto homes = place_shards(shards(count), world.all(), {}, random);
    // The least bound under which the countries together can take all shards.
    std::size_t bound = 0;
    for (std::size_t room = 0; room < count;) {
      ++bound;
      room = 0;
      for (const std::size_t size : sizes) room += std::min(size, bound);
    }
    RC_ASSERT(homes.size() == count);
    RC_ASSERT(largest(world.loads(homes, "country")) == bound);
  }));
}

namespace {

/// For each key in turn, by how many shards its values hold more than may be lost.
std::vector<std::size_t> excess(const World& world, const std::vector<std::string>& keys, const std::vector<std::size_t>& holders, std::size_t need) {
  const std::size_t limit = holders.size() - std::min(holders.size(), need);
  std::vector<std::size_t> result;
  for (const std::string& key : keys) {
    std::map<std::string, std::size_t> loads;
    for (const std::size_t holder : holders) {
      const auto label = world.labels[holder].find(key);
      ++loads[label == world.labels[holder].end() ? "" : label->second];
    }
    std::size_t over = 0;
    for (const auto& load : loads) over += load.second > limit ? load.second - limit : 0;
    result.push_back(over);
  }
  return result;
}

}  // namespace

TEST_CASE("Where the loss of any one country, operator or network can be survived it is") {
  CHECK(rc::check([](std::uint64_t seed) {
    SeededRandom random(seed);
    World world;
    const std::vector<std::string> all_keys{"operator", "country", "network", "rack"};
    const std::vector<std::string> keys(all_keys.begin(), all_keys.begin() + static_cast<std::ptrdiff_t>(1 + random.below(4)));
    const std::size_t nodes = 2 + random.below(8);
    for (std::size_t i = 0; i < nodes; ++i) {
      Labels labels;
      for (const std::string& key : keys)
        if (const auto value = random.below(5); value > 0) labels[key] = std::to_string(value);
      world.add(std::move(labels), random.u64() >> random.below(60));
    }
    const std::size_t occupied_count = random.below(std::min<std::size_t>(nodes, 3));
    std::vector<PlacementNode> occupied;
    std::vector<std::size_t> held;
    for (std::size_t i = 0; i < occupied_count; ++i) {
      occupied.push_back(world.node(i));
      held.push_back(i);
    }
    const std::size_t count = 1 + random.below(nodes - occupied_count);
    const std::size_t need = 1 + random.below(occupied_count + count);
    const auto homes = place_shards(shards(count), world.all(), occupied, random, need);
    RC_ASSERT(homes.size() == count);
    std::vector<std::size_t> holders = held;
    for (const ShardHome& home : homes) holders.push_back(world.index_of(home.node));
    const auto reached = excess(world, keys, holders, need);
    // Every choice there is.
    for (std::uint32_t subset = 0; subset < (1u << nodes); ++subset) {
      if (static_cast<std::size_t>(__builtin_popcount(subset)) != count || (subset & ((1u << occupied_count) - 1)) != 0) continue;
      std::vector<std::size_t> other = held;
      for (std::size_t i = 0; i < nodes; ++i)
        if ((subset >> i) & 1) other.push_back(i);
      RC_ASSERT(reached <= excess(world, keys, other, need));
    }
  }));
}

TEST_CASE("Two conflicting keys are matched, where choosing step by step would fail") {
  // Each country and each operator may hold one shard. a1 is the first choice of a chooser who looks no further.
  World world;
  world.add({{"operator", "anna"}, {"country", "de"}}, std::uint64_t{1} << 50);
  world.add({{"operator", "anna"}, {"country", "fr"}});
  world.add({{"operator", "berta"}, {"country", "de"}});
  SeededRandom random(5);
  const auto homes = place_shards(shards(2), world.all(), {}, random, 1);
  CHECK(world.loads(homes, "country") == std::map<std::string, std::size_t>{{"de", 1}, {"fr", 1}});
  CHECK(world.loads(homes, "operator") == std::map<std::string, std::size_t>{{"anna", 1}, {"berta", 1}});
}

TEST_CASE("Hundreds of nodes with four keys: twenty nine shards survive any one value") {
  SeededRandom random(6);
  World world;
  for (int i = 0; i < 600; ++i)
    world.add({{"operator", std::to_string(random.below(40))}, {"country", std::to_string(random.below(6))},
               {"network", std::to_string(random.below(12))}, {"hardware", std::to_string(random.below(5))}}, random.u64() >> 20);
  const auto homes = place_shards(shards(80), world.all(), {}, random, 29);
  REQUIRE(homes.size() == 80);
  for (const char* key : {"operator", "country", "network", "hardware"}) CHECK(largest(world.loads(homes, key)) <= 80 - 29);
  CHECK(largest(world.loads(homes, "country")) <= 15);
}

TEST_CASE("What is placed already weighs in the spread of what is added") {
  World world;
  for (int i = 0; i < 3; ++i) world.add({{"country", "de"}});
  for (int i = 0; i < 3; ++i) world.add({{"country", "fr"}});
  SeededRandom random(1);
  const std::vector<PlacementNode> occupied{world.node(0), world.node(1)};
  const auto homes = place_shards(shards(2), world.all(), occupied, random);
  CHECK(world.loads(homes, "country") == std::map<std::string, std::size_t>{{"fr", 2}});
}

TEST_CASE("Two kinds of label are spread at once, also where one is the same everywhere") {
  SeededRandom random(2);
  for (int round = 0; round < 50; ++round) {
    World world;
    for (int i = 0; i < 12; ++i)
      world.add({{"continent", "europe"}, {"country", std::to_string(i % 4)}, {"operator", std::to_string(i / 4)}});
    const auto homes = place_shards(shards(6), world.all(), {}, random);
    CHECK(largest(world.loads(homes, "country")) == 2);
    CHECK(largest(world.loads(homes, "operator")) <= 3);
  }
}

TEST_CASE("Nodes of unknown place count as one place") {
  World world;
  for (int i = 0; i < 4; ++i) world.add({});
  world.add({{"country", "de"}});
  world.add({{"country", "fr"}});
  SeededRandom random(3);
  const auto homes = place_shards(shards(3), world.all(), {}, random);
  CHECK(world.loads(homes, "country") == std::map<std::string, std::size_t>{{"", 1}, {"de", 1}, {"fr", 1}});
}

TEST_CASE("Clearly emptier nodes are preferred, and equals share the load") {
  World world;
  for (int i = 0; i < 4; ++i) world.add({}, std::uint64_t{1} << 20);
  for (int i = 0; i < 4; ++i) world.add({}, (std::uint64_t{1} << 30) + static_cast<std::uint64_t>(i));
  SeededRandom random(4);
  std::map<std::size_t, int> first_shard;
  for (int round = 0; round < 400; ++round) {
    const auto homes = place_shards(shards(2), world.all(), {}, random);
    for (const ShardHome& home : homes) CHECK(world.index_of(home.node) >= 4);
    ++first_shard[world.index_of(homes[0].node)];
  }
  REQUIRE(first_shard.size() == 4);
  for (const auto& entry : first_shard) CHECK(entry.second > 50);
}
