// Shards that would lie better elsewhere.
#include "cache/care/balance.h"

#include "cache/drive/node_list.h"

#include "tests/unit/cache/care/cared.h"

using namespace atl;
using std::chrono::minutes;

namespace {

NodeId id(std::uint8_t number) {
  NodeId node;
  node.bytes[0] = number;
  return node;
}

SegmentRow segment(std::uint8_t k, const std::vector<std::uint8_t>& homes) {
  SegmentRow row;
  row.has_attempt = true;
  row.k = k;
  row.n = static_cast<std::uint8_t>(homes.size());
  for (std::uint8_t i = 0; i < homes.size(); ++i) row.placed.push_back({ShardIndex(i), id(homes[i])});
  return row;
}

}  // namespace

TEST_CASE("A shard leaves the country that holds more of its segment than may be lost", "[balance]") {
  std::map<NodeId, BalanceNode> nodes;
  for (std::uint8_t i = 1; i <= 6; ++i) nodes[id(i)] = {{{"country", i <= 3 ? "de" : i <= 5 ? "fr" : "se"}}, 1000, 9000, true};
  const auto move = Balance(nodes).choose(segment(2, {1, 2, 3, 4}), 10);
  REQUIRE(move);
  CHECK(move->from.node <= id(3));
  CHECK(move->to >= id(5));
  CHECK_FALSE(Balance(nodes).choose(segment(2, {1, 2, 4, 5}), 10));
  // A node that has no room, or takes nothing, is none to go to.
  for (std::uint8_t i = 4; i <= 6; ++i) nodes[id(i)].takes = false;
  CHECK_FALSE(Balance(nodes).choose(segment(2, {1, 2, 3, 4}), 10));
}

TEST_CASE("The owner of nodes counts for more than their country", "[balance]") {
  std::map<NodeId, BalanceNode> nodes;
  nodes[id(1)] = {{{"country", "de"}, {"operator", "a"}}, 0, 9000, true};
  nodes[id(2)] = {{{"country", "de"}, {"operator", "b"}}, 0, 9000, true};
  nodes[id(3)] = {{{"country", "se"}, {"operator", "c"}}, 0, 9000, true};
  nodes[id(4)] = {{{"country", "fr"}, {"operator", "c"}}, 0, 9000, true};
  // Going to France would put two shards into one hand.
  CHECK_FALSE(Balance(nodes).choose(segment(2, {1, 2, 3}), 10));
  nodes[id(5)] = {{{"country", "fr"}, {"operator", "d"}}, 0, 9000, true};
  const auto move = Balance(nodes).choose(segment(2, {1, 2, 3}), 10);
  REQUIRE(move);
  CHECK(move->to == id(5));
}

TEST_CASE("Load is evened out, within what labels promise, and comes to rest", "[balance]") {
  std::map<NodeId, BalanceNode> nodes;
  for (std::uint8_t i = 1; i <= 4; ++i) nodes[id(i)] = {{}, 50 * 10, 100'000, true};
  nodes[id(5)] = {{}, 0, 100'000, true};
  Balance balance(nodes);
  std::vector<SegmentRow> segments(50, segment(2, {1, 2, 3, 4}));
  int moves = 0;
  for (bool any = true; any;) {
    any = false;
    for (SegmentRow& row : segments) {
      const auto move = balance.choose(row, 10);
      if (!move) continue;
      REQUIRE(++moves < 100);
      any = true;
      balance.made(*move, 10);
      std::find(row.placed.begin(), row.placed.end(), move->from)->node = move->to;
    }
  }
  std::map<NodeId, int> load;
  for (const SegmentRow& row : segments)
    for (const ShardHome& home : row.placed) ++load[home.node];
  CHECK(load[id(5)] >= 30);
  CHECK(load[id(5)] <= 40);
  for (std::uint8_t i = 1; i <= 4; ++i) CHECK(load[id(i)] >= load[id(5)]);
}

TEST_CASE("A new node is given its part of what lies on the others, and nothing is lost on the way", "[care][balance]") {
  DriveOptions with = prompt_options();
  Cared f({2, 4}, 0, 1, with);
  for (int i = 0; i < 12; ++i) {
    f.write(f.make_file(root_inode, "more" + std::to_string(i)).inode, 0, f.random.bytes(5'000'000));
    f.sync_full();
  }
  FakeEngine::FakeNode fresh;
  fresh.spec.id.bytes[0] = 77;
  fresh.spec.url = "fake:new";
  f.engine.all().push_back(fresh);
  f.step(minutes(1));
  CHECK(f.counter("shards_balanced") == 0);  // none of the drive's yet
  REQUIRE(put_node(*f.drive, fresh.spec));
  f.step(minutes(30));
  const std::size_t before = f.counter("shards_balanced");
  CHECK(before > 0);
  std::vector<std::size_t> load;
  for (std::size_t i = 0; i < 5; ++i) load.push_back(f.shards_on(i));
  CAPTURE(load);
  CHECK(load[4] * 2 >= *std::max_element(load.begin(), load.end()));
  f.step(std::chrono::hours(3));
  CHECK(f.counter("shards_balanced") == before);  // at rest
  REQUIRE(f.drive->collect_garbage(true, {}));
  const auto [objects, homes] = f.objects_and_homes();
  CHECK(objects == homes);
  CHECK(f.drive->care().status().worst_margin == 2);
  CHECK(f.whole());
}

TEST_CASE("While a node is away nothing moves for the sake of order", "[care][balance]") {
  Cared f({2, 4}, 2);
  std::size_t homes = 0;
  std::size_t idle = 0;
  for (std::size_t i = 0; i < 6; ++i) {
    NodeSpec spec = f.engine.all()[i].spec;
    const bool home = f.shards_on(i) > 0;
    spec.labels["country"] = home && homes++ < 3 ? "de" : "c" + std::to_string(i);
    if (!home) idle = i;
    REQUIRE(put_node(*f.drive, spec));
  }
  f.engine.all()[idle].absent = true;
  f.engine.changed();
  f.step(minutes(10));
  CHECK(f.counter("shards_balanced") == 0);
  f.engine.all()[idle].absent = false;
  f.engine.changed();
  f.step(minutes(10));
  CHECK(f.counter("shards_balanced") > 0);
}

TEST_CASE("Labels that change move what they put in danger", "[care][balance]") {
  Cared f({2, 4}, 2);
  // Three homes of the file are said to be in one country, and so is nobody else.
  std::vector<std::size_t> homes;
  for (std::size_t i = 0; i < 6; ++i)
    if (f.shards_on(i) > 0) homes.push_back(i);
  REQUIRE(homes.size() >= 4);
  for (std::size_t i = 0; i < 6; ++i) {
    NodeSpec spec = f.engine.all()[i].spec;
    spec.labels["country"] = std::find(homes.begin(), homes.begin() + 3, i) != homes.begin() + 3 ? "de" : "c" + std::to_string(i);
    REQUIRE(put_node(*f.drive, spec));
  }
  f.step(minutes(10));
  CHECK(f.counter("shards_balanced") > 0);
  for (std::size_t i = 0; i < 3; ++i) f.engine.all()[homes[i]].absent = true;
  CHECK(f.whole());
}
