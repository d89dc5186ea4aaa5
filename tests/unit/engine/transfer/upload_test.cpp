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

TEST_CASE("An upload that goes on gives no node a second shard, though it is the only one left") {
  VirtualEngine drive(2);
  drive.node(1).faults.absent = true;
  auto rest = drive.upload_request(2);
  rest.shards = {ShardIndex(1)};
  rest.placed = {{ShardIndex(0), drive.specs[0].id}};
  const auto result = drive.upload(std::move(rest));
  REQUIRE_FALSE(result);
  CHECK(result.error().code == Code::unavailable);
  CHECK(drive.node(0).objects.empty());
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
  const std::weak_ptr<const void> held = request.body(request.shards.front()).owner;
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

namespace {

/// Eight nodes that store at once, but for the first two.
struct TwoLate : VirtualEngine {
  explicit TwoLate(std::uint64_t seed) : VirtualEngine(8, {}, std::uint64_t{1} << 30, seed) {
    for (std::size_t i = 0; i < 8; ++i) node(i).faults.put_delay = i < 2 ? Duration(1h) : Duration(20ms);
  }
  bool late(const ShardHome& home) const { return index_of(home.node) < 2; }
  UploadRequest request(const std::string& name) {
    homes.clear();
    UploadRequest made = upload_request(6);
    made.object_name = [name](ShardIndex shard, NodeId) { return name + std::to_string(shard.value); };
    return made;
  }
  std::size_t puts() const {
    std::size_t sum = 0;
    for (const auto& each : nodes) sum += each->puts;
    return sum;
  }
};

}  // namespace

TEST_CASE("A late shard goes to another node as well, and the first of the two wins") {
  std::size_t hedged = 0;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    INFO("seed " << seed);
    TwoLate drive(seed);
    const MonotonicTime start = drive.loop.now();
    REQUIRE(drive.upload(drive.request("shard-")));
    CHECK(drive.loop.now() - start <= 1100ms);  // the further node may be the other late one
    check_homes(drive, 6);
    CHECK(drive.homes.size() == 6);
    CHECK(std::none_of(drive.homes.begin(), drive.homes.end(), [&](const ShardHome& home) { return drive.late(home); }));
    // One more for each shard that a late node had, and nothing runs there any more.
    const std::size_t late = drive.node(0).puts + drive.node(1).puts;
    CHECK(drive.puts() == 6 + late);
    for (auto& node : drive.nodes) CHECK(node->running == 0);
    hedged += late;
  }
  CHECK(hedged >= 6);
}

TEST_CASE("Nodes that were late get nothing for some minutes, unless labels ask for them") {
  TwoLate drive(3);
  for (int i = 0; i < 6; ++i) REQUIRE(drive.upload(drive.request("first" + std::to_string(i) + "-")));
  const std::size_t asked = drive.node(0).puts + drive.node(1).puts;
  REQUIRE(drive.node(0).puts >= 1);
  REQUIRE(drive.node(1).puts >= 1);
  CHECK(asked <= 4);
  for (int i = 0; i < 6; ++i) REQUIRE(drive.upload(drive.request("second" + std::to_string(i) + "-")));
  CHECK(drive.node(0).puts + drive.node(1).puts == asked);

  // Country b has the late ones alone: four of six shards in country a would be one too many to lose.
  std::vector<NodeSpec> specs = drive.specs;
  for (std::size_t i = 0; i < specs.size(); ++i) specs[i].labels["country"] = i < 2 ? "b" : "a" + std::to_string(i / 6);
  REQUIRE(drive.engine->set_nodes(specs));
  UploadRequest labelled = drive.request("third-");
  labelled.need = 3;
  drive.engine->upload(std::move(labelled));
  drive.loop.run_for(10ms);
  CHECK(drive.node(0).puts + drive.node(1).puts > asked);
}

TEST_CASE("Where nobody can take over, a late node keeps its shard and its time") {
  VirtualEngine drive(6);
  for (auto& node : drive.nodes) node->faults.put_delay = 20ms;
  drive.node(4).faults.put_delay = 60s;
  const MonotonicTime start = drive.loop.now();
  REQUIRE(drive.upload(6));
  CHECK(drive.loop.now() - start == 60s);
  check_homes(drive, 6);
  for (auto& node : drive.nodes) CHECK(node->puts == 1);
}

TEST_CASE("A late node that ends before the one asked in its place keeps the shard") {
  std::size_t hedged = 0;
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    TwoLate drive(seed);
    for (std::size_t i = 0; i < 2; ++i) drive.node(i).faults.put_delay = 3s;
    auto request = drive.request("shard-");
    bool done = false;
    request.done = [&](Result<> result) {
      CHECK(result);
      done = true;
    };
    drive.engine->upload(std::move(request));
    drive.loop.run_for(100ms);
    // From now on everyone takes far longer than the late ones still will.
    for (auto& node : drive.nodes) node->faults.put_delay = 1h;
    REQUIRE(drive.loop.run_until([&] { return done; }, 5s));
    check_homes(drive, 6);
    CHECK(drive.homes.size() == 6);
    for (auto& node : drive.nodes) CHECK(node->running == 0);
    hedged += drive.puts() - 6;
  }
  CHECK(hedged >= 2);
}

TEST_CASE("While paused nothing is stored and reads are answered; after that all goes on") {
  VirtualEngine drive(6);
  REQUIRE(drive.upload(6));
  Flow flow;
  flow.paused = true;
  drive.engine->set_flow(flow);
  CHECK(drive.engine->flow() == flow);
  UploadRequest request = drive.upload_request(6);
  request.object_name = [](ShardIndex shard, NodeId) { return "more-" + std::to_string(shard.value); };
  request.on_stored = {};
  std::optional<Result<>> outcome;
  request.done = [&](Result<> result) { outcome = std::move(result); };
  drive.engine->upload(std::move(request));
  drive.loop.run_for(10min);
  CHECK_FALSE(outcome);
  for (auto& node : drive.nodes) CHECK(node->puts == 1);
  CHECK(drive.fetch(1, 3));
  drive.engine->set_flow({});
  REQUIRE(drive.loop.run_until([&] { return outcome.has_value(); }, 1s));
  CHECK(*outcome);
}

namespace {

/// Begins so many uploads of six objects of 1000 bytes each.
void begin_uploads(VirtualEngine& drive, int count, int& ended) {
  for (int i = 0; i < count; ++i) {
    UploadRequest request = drive.upload_request(6);
    request.object_name = [i](ShardIndex shard, NodeId) { return "u" + std::to_string(i) + "-" + std::to_string(shard.value); };
    request.on_stored = {};
    request.done = [&ended](Result<> result) {
      CHECK(result);
      ++ended;
    };
    drive.engine->upload(std::move(request));
  }
}

}  // namespace

TEST_CASE("Uploads keep to their limit, all of them together") {
  VirtualEngine drive(6);
  Flow flow;
  flow.upload_limit = 60'000;
  drive.engine->set_flow(flow);
  int ended = 0;
  const MonotonicTime start = drive.loop.now();
  begin_uploads(drive, 100, ended);
  REQUIRE(drive.loop.run_until([&] { return ended == 100; }));
  CHECK(drive.loop.now() - start >= 9900ms);  // 600,000 bytes, but for the last
  CHECK(drive.loop.now() - start <= 10100ms);
  CHECK(drive.engine->counters().node_write_bytes == 600'000);
}

TEST_CASE("A limit changes while uploads run, and what waits for it goes on") {
  VirtualEngine drive(6);
  Flow flow;
  flow.upload_limit = 1;  // counts as the least
  drive.engine->set_flow(flow);
  CHECK(drive.engine->flow().upload_limit == Flow::limit_min);
  int ended = 0;
  begin_uploads(drive, 100, ended);
  drive.loop.run_for(3s);
  CHECK(ended < 20);
  drive.engine->set_flow({});
  REQUIRE(drive.loop.run_until([&] { return ended == 100; }, 1s));
}
