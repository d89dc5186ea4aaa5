#include <catch2/catch.hpp>
#include <set>

#include "tests/support/virtual_engine.h"

using namespace atl;
using namespace std::chrono_literals;

namespace {

void check_homes(VirtualEngine& drive, std::size_t shards) {
  std::set<NodeId> nodes;
  std::set<ShardIndex> stored;
  for (const ShardHome& home : drive.homes) {
    CHECK(nodes.insert(home.node).second);
    CHECK(stored.insert(home.shard).second);
    CHECK(drive.node(drive.index_of(home.node)).objects.at(VirtualEngine::name_of(home.shard)) ==
          VirtualEngine::body_of(home.shard));
  }
  CHECK(stored.size() == shards);
}

}  // namespace

TEST_CASE("An upload brings every shard to a node of its own") {
  VirtualEngine drive(9);
  REQUIRE(drive.upload(6));
  check_homes(drive, 6);
  CHECK(drive.engine->counters().node_writes == 6);
  CHECK(drive.engine->counters().node_write_bytes == 6000);
}

TEST_CASE("An upload of nothing is done at once") {
  VirtualEngine drive(1);
  CHECK(drive.upload(0));
}

TEST_CASE("A shard whose node fails goes to another node") {
  VirtualEngine drive(8);
  for (std::size_t i = 0; i < 2; ++i) drive.node(i).faults.absent = true;
  REQUIRE(drive.upload(6));
  check_homes(drive, 6);
  CHECK(drive.node(0).objects.empty());
  CHECK(drive.node(1).objects.empty());
}

TEST_CASE("With too few nodes what can be stored is stored, and the upload says what is missing") {
  VirtualEngine drive(6);
  drive.node(4).faults.absent = true;
  const auto result = drive.upload(6);
  REQUIRE_FALSE(result);
  CHECK(result.error().code == Code::unavailable);
  check_homes(drive, 5);
  CHECK(drive.state(4) == NodeState::absent);

  drive.node(4).faults.absent = false;
  REQUIRE(drive.loop.run_until([&] { return drive.state(4) == NodeState::ok; }, 1min));
  auto rest = drive.upload_request(6);
  rest.placed = drive.homes;
  std::erase_if(rest.shards, [&](ShardIndex shard) {
    return std::any_of(drive.homes.begin(), drive.homes.end(), [&](const ShardHome& home) { return home.shard == shard; });
  });
  REQUIRE(rest.shards.size() == 1);
  REQUIRE(drive.upload(std::move(rest)));
  check_homes(drive, 6);
}

TEST_CASE("A full node is passed over until there is room again") {
  VirtualEngine drive(4, {}, 1500);
  REQUIRE(drive.upload(3));
  const auto filled = drive.index_of(drive.homes[0].node);
  UploadRequest second = drive.upload_request(4);
  second.object_name = [](ShardIndex shard, NodeId) { return "second-" + std::to_string(shard.value); };
  drive.homes.clear();
  const auto result = drive.upload(std::move(second));
  REQUIRE_FALSE(result);
  CHECK(result.error().code == Code::no_space);
  CHECK(drive.homes.size() == 1);
  CHECK(drive.state(filled) == NodeState::full);
  std::optional<Result<std::size_t>> removed;
  std::vector<std::string> names;
  for (const auto& object : drive.node(filled).objects) names.push_back(object.first);
  drive.engine->remove(drive.specs[filled].id, names, [&](Result<std::size_t> count) { removed = std::move(count); });
  REQUIRE(drive.loop.run_until([&] { return removed.has_value(); }));
  CHECK(*removed == 1u);
  CHECK(drive.state(filled) == NodeState::ok);
  UploadRequest third = drive.upload_request(1);
  CHECK(drive.upload(std::move(third)));
}

TEST_CASE("A node that fails in passing is asked again after a pause, a few times") {
  VirtualEngine drive(3);
  drive.node(1).faults.refuses = {Code::io, Code::io};
  const MonotonicTime start = drive.loop.now();
  REQUIRE(drive.upload(3));
  check_homes(drive, 3);
  CHECK(drive.node(1).puts == 3);
  CHECK(drive.loop.now() - start >= 250ms);  // half of 200 ms and half of 400 ms at least
  CHECK(drive.loop.now() - start <= 600ms);

  VirtualEngine worse(3);
  worse.node(1).faults.refuses = {Code::io, Code::io, Code::io, Code::io};
  const auto result = worse.upload(3);
  REQUIRE_FALSE(result);
  CHECK(worse.node(1).puts == 3);
  CHECK(worse.state(1) == NodeState::absent);
  REQUIRE(worse.loop.run_until([&] { return worse.state(1) == NodeState::ok; }, 1min));
}

TEST_CASE("Another object under the name sends the shard elsewhere and leaves that object alone") {
  VirtualEngine drive(2);
  drive.node(0).objects["shard-0"] = Bytes{1, 2, 3};
  REQUIRE(drive.upload(1));
  CHECK(drive.index_of(drive.homes[0].node) == 1);
  CHECK(drive.node(0).objects["shard-0"] == Bytes{1, 2, 3});
  CHECK(drive.state(0) == NodeState::ok);
}

TEST_CASE("A node that accepts and never ends is given up, and the shard goes elsewhere") {
  VirtualEngine drive(3);
  drive.node(0).faults.hangs = true;
  REQUIRE(drive.upload(2));
  const auto result = drive.upload_request(3);
  VirtualEngine other(2);
  other.node(0).faults.hangs = true;
  const auto stuck = other.upload(2);
  REQUIRE_FALSE(stuck);
  CHECK(other.homes.size() == 1);
  CHECK(other.state(0) == NodeState::absent);
}

TEST_CASE("What waits for a node that hangs is turned away when the node is given up") {
  EngineOptions options;
  options.probe_interval = 24h;
  VirtualEngine drive(1, options);
  drive.node(0).faults.hangs = true;
  int ended = 0;
  for (int i = 0; i < 20; ++i) {
    UploadRequest request = drive.upload_request(1);
    request.done = [&](Result<> result) {
      CHECK_FALSE(result);
      ++ended;
    };
    drive.engine->upload(std::move(request));
  }
  CHECK(drive.loop.run_until([&] { return ended == 20; }, options.put_timeout + 1s));
}

TEST_CASE("Uploads keep to the bounds on calls at once, over all nodes and on each") {
  EngineOptions options;
  options.transfers_max = 8;
  options.transfers_per_node_max = 4;
  VirtualEngine drive(6, options);
  for (auto& node : drive.nodes) node->faults.delay = 10ms;
  int ended = 0;
  for (int i = 0; i < 30; ++i) {
    UploadRequest request = drive.upload_request(6);
    request.object_name = [i](ShardIndex shard, NodeId) { return "s" + std::to_string(i) + "-" + std::to_string(shard.value); };
    request.done = [&](Result<> result) {
      CHECK(result);
      ++ended;
    };
    drive.engine->upload(std::move(request));
  }
  std::size_t most = 0;
  REQUIRE(drive.loop.run_until([&] {
    std::size_t running = 0;
    for (auto& node : drive.nodes) running += node->running;
    most = std::max(most, running);
    return ended == 30;
  }));
  CHECK(most <= 6);  // three quarters of eight: the rest is for reads
  CHECK(most >= 5);
  for (auto& node : drive.nodes) CHECK(node->running_most <= 3);
}

TEST_CASE("A cancelled upload ends once, at once, and lets go of what it was given") {
  VirtualEngine drive(3);
  for (auto& node : drive.nodes) node->faults.delay = 1h;
  UploadRequest request = drive.upload_request(3);
  const std::weak_ptr<const void> held = request.keep_alive;
  std::vector<Code> ends;
  request.done = [&](Result<> result) { ends.push_back(result.error().code); };
  const auto transfer = drive.engine->upload(std::move(request));
  drive.loop.run_for(1s);
  CHECK(ends.empty());
  transfer->cancel();
  transfer->cancel();
  drive.loop.run_ready();
  CHECK(ends == std::vector<Code>{Code::cancelled});
  CHECK(held.expired());
  for (auto& node : drive.nodes) CHECK(node->running == 0);
}

TEST_CASE("Closing cancels what runs, each once, and a handle may outlive the engine") {
  VirtualEngine drive(3);
  for (auto& node : drive.nodes) node->faults.delay = 1h;
  int ended = 0;
  std::vector<std::shared_ptr<Transfer>> handles;
  for (int i = 0; i < 10; ++i) {
    UploadRequest request = drive.upload_request(3);
    request.done = [&](Result<> result) {
      CHECK(result.error().code == Code::cancelled);
      ++ended;
    };
    handles.push_back(drive.engine->upload(std::move(request)));
    if (i == 4) drive.loop.run_for(1s);
  }
  drive.engine->close();
  CHECK(ended == 10);
  drive.loop.run_ready();
  drive.engine.reset();
  for (const auto& handle : handles) handle->cancel();
  CHECK(ended == 10);
}
