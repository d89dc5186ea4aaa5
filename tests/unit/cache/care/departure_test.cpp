// Nodes that leave a drive for good.

#include "cache/care/promises.h"
#include "tests/support/effort.h"
#include "tests/unit/cache/care/cared.h"

using namespace atl;
using std::chrono::minutes;

namespace {

std::size_t index_of(Cared& f, const NodeId& id) {
  for (std::size_t i = 0; i < f.engine.all().size(); ++i)
    if (f.engine.all()[i].spec.id == id) return i;
  return f.engine.all().size();
}

bool is_node(Cared& f, const NodeId& id) {
  const auto nodes = f.drive->nodes();
  return std::any_of(nodes.begin(), nodes.end(), [&](const NodeSpec& spec) { return spec.id == id; });
}

NodeSpec labelled(std::uint8_t number, const std::string& country) {
  NodeSpec spec;
  spec.id.bytes[0] = number;
  if (!country.empty()) spec.labels["country"] = country;
  return spec;
}

}  // namespace

TEST_CASE("A node is removed once what it holds lies elsewhere, and the drive knows it no more", "[care]") {
  Cared f({3, 6}, 2);
  const std::size_t leaver = f.a_home();
  const NodeId id = f.engine.all()[leaver].spec.id;
  const std::uint64_t shards = f.shards_on(leaver);
  REQUIRE(shards > 0);
  CareProgress last;
  const auto removed = f.drive->care().remove_node(id, [&](const CareProgress& now) { last = now; }, {});
  INFO((removed ? std::string() : removed.error().what));
  REQUIRE(removed);
  CHECK(last.done == last.total);
  CHECK(last.total == shards);
  CHECK_FALSE(is_node(f, id));
  CHECK(index_of(f, id) == 7);  // the engine was told
  CHECK(f.drive->care().status().nodes.size() == 7);
  CHECK(f.drive->care().status().worst_margin == 3);
  CHECK(f.whole());
  f.step(minutes(5));
  REQUIRE(f.drive->collect_garbage(true, {}));
  const auto [objects, homes] = f.objects_and_homes();
  CHECK(objects == homes);
  f.close();
  f.open();
  CHECK_FALSE(is_node(f, id));
  CHECK(f.whole());
}

TEST_CASE("A node that is away is removed by rebuilding what it held, without waiting for the grace", "[care]") {
  Cared f({3, 6}, 1);  // grace: a week
  const std::size_t lost = f.a_home();
  const NodeId id = f.engine.all()[lost].spec.id;
  f.engine.all()[lost].absent = true;
  f.engine.changed();
  f.step(minutes(10));
  CHECK(f.counter("shards_rebuilt") == 0);
  const auto removed = f.drive->care().remove_node(id, {}, {});
  INFO((removed ? std::string() : removed.error().what));
  REQUIRE(removed);
  CHECK(f.counter("shards_rebuilt") > 0);
  CHECK_FALSE(is_node(f, id));
  CHECK(f.drive->care().status().worst_margin == 3);
  CHECK(f.whole());
}

TEST_CASE("A node without which shards would lack nodes is not removed, and stays as it was", "[care]") {
  Cared f({3, 6}, 0);
  const NodeId id = f.engine.all()[2].spec.id;
  const auto removed = f.drive->care().remove_node(id, {}, {});
  REQUIRE_FALSE(removed);
  CHECK(removed.error().code == Code::too_few_nodes);
  CHECK(removed.error().what.find("6 shards on nodes of their own, and 5 nodes would be left") != std::string::npos);
  CHECK(is_node(f, id));
  CHECK_FALSE(f.drive->care().status().nodes[2].leaving);
  CHECK(f.drive->care().remove_node(NodeId{}, {}, {}).error().code == Code::not_found);
}

TEST_CASE("Where the shards of a removed node find no place, it is kept and gets new data again", "[care]") {
  Cared f({3, 6}, 1);
  const std::size_t leaver = f.a_home();
  const NodeId id = f.engine.all()[leaver].spec.id;
  for (std::size_t i = 0; i < f.engine.all().size(); ++i)
    if (f.shards_on(i) == 0) f.engine.all()[i].full = true;
  const auto removed = f.drive->care().remove_node(id, {}, {});
  REQUIRE_FALSE(removed);
  CHECK(removed.error().code == Code::too_few_nodes);
  CHECK(is_node(f, id));
  for (const NodeCare& node : f.drive->care().status().nodes) CHECK_FALSE(node.leaving);
}

TEST_CASE("The loss of a country that could be survived must stay so without the node", "[care]") {
  // 3/6: no country may hold more than three shards.
  std::vector<NodeSpec> nodes;
  for (std::uint8_t i = 0; i < 4; ++i) nodes.push_back(labelled(i + 1, "de"));
  for (std::uint8_t i = 0; i < 3; ++i) nodes.push_back(labelled(i + 11, "fr"));
  CHECK(any_value_may_go(nodes, "country", {3, 6}));
  CHECK_FALSE(promise_broken_without(nodes, nodes[0].id, {3, 6}));
  const auto broken = promise_broken_without(nodes, nodes[6].id, {3, 6});
  REQUIRE(broken);
  CHECK(broken->find("any one country") != std::string::npos);
  // What was not so before is no reason.
  nodes[5].labels["country"] = nodes[6].labels["country"] = "de";
  CHECK_FALSE(any_value_may_go(nodes, "country", {3, 6}));
  CHECK_FALSE(promise_broken_without(nodes, nodes[6].id, {3, 6}));
  // Nodes that say nothing may all be in one place.
  CHECK_FALSE(any_value_may_go({labelled(1, ""), labelled(2, ""), labelled(3, "de")}, "country", {2, 3}));
  CHECK(any_value_may_go({labelled(1, ""), labelled(2, "fr"), labelled(3, "de")}, "country", {2, 3}));
}

TEST_CASE("Power cuts anywhere in a removal lose nothing, and the removal can be repeated", "[care][crash]") {
  const auto seed = GENERATE(range<std::uint64_t>(1, effort(25, 9)));
  CAPTURE(seed);
  Cared f({3, 6}, 2, seed);
  const std::size_t node = f.a_home();
  const NodeId id = f.engine.all()[node].spec.id;
  f.disk->power_off_at(seed * 3 % 31 + 1);
  (void)f.drive->care().remove_node(id, {}, {});
  f.crash(seed, seed % 3 == 0);
  f.open();
  REQUIRE(f.whole());
  if (is_node(f, id)) {
    const auto removed = f.drive->care().remove_node(id, {}, {});
    INFO((removed ? std::string() : removed.error().what));
    REQUIRE(removed);
  }
  f.step(minutes(5));
  CHECK_FALSE(is_node(f, id));
  CHECK(index_of(f, id) == 7);
  CHECK(f.drive->care().status().worst_margin == 3);
  REQUIRE(f.drive->collect_garbage(true, {}));
  const auto [objects, homes] = f.objects_and_homes();
  CHECK(objects == homes);
  CHECK(f.whole());
}
