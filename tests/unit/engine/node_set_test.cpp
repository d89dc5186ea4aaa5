// Nodes that come, move and leave while the engine runs.
#include <catch2/catch.hpp>

#include "tests/support/virtual_engine.h"

using namespace atl;
using namespace std::chrono_literals;

namespace {

NodeState state_of(const VirtualEngine& drive, const NodeId& id) {
  for (const NodeStatus& status : drive.engine->nodes()) {
    if (status.spec.id == id) return status.state;
  }
  throw std::out_of_range("the engine does not show the node");
}

}  // namespace

TEST_CASE("A node that is added gets shards at once") {
  VirtualEngine drive(2);
  REQUIRE_FALSE(drive.upload(3));
  drive.homes.clear();
  for (auto& node : drive.nodes) node->objects.clear();
  drive.make_node();
  REQUIRE(drive.engine->set_nodes(drive.specs));
  REQUIRE(drive.loop.run_until([&] { return state_of(drive, drive.specs[2].id) == NodeState::ok; }, 1min));
  REQUIRE(drive.upload(3));
  CHECK(drive.node(2).objects.size() == 1);
}

TEST_CASE("An upload that hangs at a node goes on elsewhere when the node leaves") {
  VirtualEngine drive(2);
  drive.node(1).faults.hangs = true;
  std::optional<Result<>> outcome;
  auto request = drive.upload_request(2);
  request.done = [&](Result<> result) { outcome = std::move(result); };
  drive.engine->upload(std::move(request));
  drive.loop.run_for(1s);
  REQUIRE_FALSE(outcome);
  drive.make_node();
  REQUIRE(drive.engine->set_nodes(drive.specs));
  REQUIRE(drive.loop.run_until([&] { return state_of(drive, drive.specs[2].id) == NodeState::ok; }, 1s));
  REQUIRE(drive.engine->set_nodes({drive.specs[0], drive.specs[2]}));
  REQUIRE(drive.loop.run_until([&] { return outcome.has_value(); }, 5s));
  CHECK(*outcome);
  CHECK(drive.engine->nodes().size() == 2);
  for (const ShardHome& home : drive.homes) CHECK(home.node != drive.specs[1].id);
}

TEST_CASE("A node that left is not read, not shown and not written") {
  VirtualEngine drive(4);
  REQUIRE(drive.upload(3));
  const std::size_t left = drive.index_of(drive.homes[0].node);
  auto rest = drive.specs;
  rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(left));
  REQUIRE(drive.engine->set_nodes(rest));
  CHECK(drive.engine->nodes().size() == 3);
  const std::size_t gets = drive.node(left).gets;
  CHECK(drive.fetch(1, 1));
  CHECK(drive.node(left).gets == gets);
  std::optional<Result<>> put;
  drive.engine->put(drive.specs[left].id, "x", std::make_shared<const Bytes>(Bytes{1}), [&](Result<> result) { put = std::move(result); });
  REQUIRE(drive.loop.run_until([&] { return put.has_value(); }));
  CHECK(put->error().code == Code::invalid);
}

TEST_CASE("A read under way on a node that leaves is answered by others") {
  VirtualEngine drive(3);
  REQUIRE(drive.upload(3));
  drive.holder(0).faults.hangs = true;
  std::optional<Result<VirtualEngine::Answers>> outcome;
  auto request = drive.fetch_request(0, 2);
  request.done = [&](Result<VirtualEngine::Answers> result) { outcome = std::move(result); };
  drive.engine->fetch(std::move(request));
  drive.loop.run_ready();
  std::vector<NodeSpec> rest = drive.specs;
  std::erase_if(rest, [&](const NodeSpec& spec) { return &drive.node(drive.index_of(spec.id)) == &drive.holder(0); });
  REQUIRE(drive.engine->set_nodes(rest));
  REQUIRE(drive.loop.run_until([&] { return outcome.has_value(); }, 1s));
  REQUIRE(*outcome);
  CHECK((*outcome)->size() == 2);
}

TEST_CASE("A node under another address is the same node, and is read there at once") {
  VirtualEngine drive(3);
  REQUIRE(drive.upload(3));
  MemoryNode& old = drive.holder(1);
  old.faults.absent = true;
  std::size_t moved = 0;
  for (std::size_t i = 0; i < 3; ++i)
    if (&drive.node(i) == &old) moved = i;
  drive.make_node();
  drive.node(3).objects = old.objects;
  auto specs = drive.specs;
  specs.pop_back();
  specs[moved].url = "memory:3";
  REQUIRE(drive.engine->set_nodes(specs));
  REQUIRE(drive.loop.run_until([&] { return state_of(drive, specs[moved].id) == NodeState::ok; }, 1min));
  const auto answers = drive.fetch(1, 0);
  REQUIRE(answers);
  CHECK(drive.node(3).gets == 1);
  CHECK(drive.engine->nodes().size() == 3);
  // And no second shard comes to lie there.
  auto more = drive.upload_request(4);
  more.shards = {ShardIndex(3)};
  more.placed = drive.homes;
  CHECK_FALSE(drive.upload(std::move(more)));
}

TEST_CASE("A draining node is read, and gets nothing new") {
  VirtualEngine drive(3);
  REQUIRE(drive.upload(3));
  auto specs = drive.specs;
  for (NodeSpec& spec : specs) spec.draining = spec.id == drive.homes[0].node;
  REQUIRE(drive.engine->set_nodes(specs));
  auto more = drive.upload_request(3);
  more.object_name = [](ShardIndex shard, NodeId) { return "more-" + std::to_string(shard.value); };
  const std::size_t drained = drive.index_of(drive.homes[0].node);
  const std::size_t shard = drive.homes[0].shard.value;
  const std::size_t gets = drive.node(drained).gets;
  const auto homes = drive.homes;
  CHECK_FALSE(drive.upload(std::move(more)));
  drive.homes = homes;
  CHECK(drive.node(drained).objects.size() == 1);
  CHECK(drive.fetch(shard, 0));
  CHECK(drive.node(drained).gets == gets + 1);
}

TEST_CASE("A set with an address that is none, or a node twice, changes nothing") {
  VirtualEngine drive(2);
  auto bad = drive.specs;
  bad[0].url = "memory:none";
  CHECK(drive.engine->set_nodes(bad).error().code == Code::invalid);
  CHECK(drive.engine->set_nodes({drive.specs[0], drive.specs[0]}).error().code == Code::invalid);
  REQUIRE(drive.upload(2));
  drive.engine->close();
  CHECK(drive.engine->set_nodes(drive.specs).error().code == Code::cancelled);
}

TEST_CASE("A node that left may come back, and is told apart from what still ran there") {
  VirtualEngine drive(2);
  REQUIRE(drive.upload(2));
  drive.node(0).faults.hangs = true;
  std::optional<Result<ObjectStat>> stat;
  drive.engine->stat(drive.specs[0].id, "shard-0", [&](Result<ObjectStat> result) { stat = std::move(result); });
  drive.loop.run_ready();
  REQUIRE(drive.engine->set_nodes({drive.specs[1]}));
  drive.loop.run_ready();
  REQUIRE(stat);
  CHECK(stat->error().code == Code::unavailable);
  drive.node(0).faults.hangs = false;
  REQUIRE(drive.engine->set_nodes(drive.specs));
  REQUIRE(drive.loop.run_until([&] { return state_of(drive, drive.specs[0].id) == NodeState::ok; }, 1min));
  CHECK(drive.fetch(0, 0));
  CHECK(drive.fetch(1, 0));
}

TEST_CASE("An engine tells how often each node likes to be asked") {
  VirtualEngine drive(2);
  drive.make_node();
  drive.nodes[2]->likes_interval = 5min;
  REQUIRE(drive.engine->set_nodes(drive.specs));
  CHECK(drive.engine->ship_intervals() == std::map<NodeId, Duration>{{drive.specs[2].id, 5min}});
}
