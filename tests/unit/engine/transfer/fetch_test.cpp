#include <catch2/catch.hpp>

#include "tests/support/virtual_engine.h"

using namespace atl;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t none = 255;

/// Six shards on six nodes, any three of which suffice.
struct Stored : VirtualEngine {
  explicit Stored(EngineOptions options = {}) : VirtualEngine(6, options) { REQUIRE(upload(6)); }

  void check(const Result<Answers>& answer, std::size_t wanted) {
    REQUIRE(answer);
    CHECK((answer->size() == 3 || (answer->size() == 1 && answer->front().first.value == wanted)));
    std::set<ShardIndex> shards;
    for (const auto& [shard, bytes] : *answer) {
      CHECK(shards.insert(shard).second);
      const Bytes whole = body_of(shard);
      CHECK(bytes == Bytes(whole.begin() + 10, whole.begin() + 510));
    }
  }
  EngineCounters counters() { return engine->counters(); }
};

}  // namespace

TEST_CASE("A healthy node's answer alone is read, from that node alone") {
  Stored drive;
  for (std::size_t wanted = 0; wanted < 6; ++wanted) {
    const auto before = drive.counters();
    const auto answer = drive.fetch(wanted, 3);
    drive.check(answer, wanted);
    CHECK(answer->size() == 1);
    CHECK(drive.counters().node_reads == before.node_reads + 1);
    CHECK(drive.counters().node_read_bytes == before.node_read_bytes + 500);
  }
  CHECK(drive.counters().hedged_reads == 0);
}

TEST_CASE("Without a wanted shard as many are read as are needed, and no more") {
  Stored drive;
  const auto answer = drive.fetch(none, 3);
  drive.check(answer, none);
  CHECK(answer->size() == 3);
  CHECK(drive.counters().node_reads == 3);
}

TEST_CASE("Any three of six shards suffice, whichever nodes fail and however they do") {
  enum Way { absent, missing, garbage, truncated, swapped, refusing, hanging, ways };
  for (int way = 0; way < ways; ++way) {
    for (unsigned subset = 0; subset < 64; ++subset) {
      for (const std::size_t wanted : {std::size_t{0}, std::size_t{5}, none}) {
        Stored drive;
        unsigned failing = 0;
        for (std::size_t shard = 0; shard < 6; ++shard) {
          MemoryNode& node = drive.holder(shard);
          node.objects["another"] = Bytes(1000, 7);
          if ((subset >> shard & 1) == 0) continue;
          ++failing;
          switch (way) {
            case absent: node.faults.absent = true; break;
            case missing: node.objects.clear(); break;
            case garbage: node.faults.garbage = true; break;
            case truncated: node.faults.truncates = true; break;
            case swapped: node.faults.swaps = true; break;
            case refusing: node.faults.refuses.assign(9, Code::io); break;
            case hanging: node.faults.hangs = true; break;
          }
        }
        INFO("way " << way << ", failing shards " << subset << ", wanted " << wanted);
        FetchRequest request = drive.fetch_request(wanted, 3);
        request.deadline = drive.loop.now() + 30s;
        const MonotonicTime start = drive.loop.now();
        const auto answer = drive.fetch(std::move(request));
        const bool wanted_well = wanted != none && (subset >> wanted & 1) == 0;
        if (failing <= 3 || wanted_well) {
          drive.check(answer, wanted);
          CHECK(drive.loop.now() - start < 1s);
        } else {
          REQUIRE_FALSE(answer);
          CHECK(answer.error().code == Code::too_few_nodes);
          CHECK(drive.loop.now() - start <= 30s);
        }
        const bool lies = way == garbage || way == truncated || way == swapped;
        if (!lies) CHECK(drive.counters().bad_shards == 0);
        if (lies && failing >= 4 && !wanted_well) CHECK(drive.counters().bad_shards >= 1);
      }
    }
  }
}

TEST_CASE("Nodes known to be absent are not waited for") {
  Stored drive;
  for (std::size_t shard : {0, 1, 2}) drive.holder(shard).faults.hangs = true;
  REQUIRE(drive.loop.run_until([&] {
    return drive.state(drive.index_of(drive.homes[0].node)) != NodeState::ok || drive.loop.now() > MonotonicTime(2h);
  }));
  drive.loop.run_for(1min);  // probes of all three have failed
  const MonotonicTime start = drive.loop.now();
  drive.check(drive.fetch(0, 3), 0);
  CHECK(drive.loop.now() == start);
}

TEST_CASE("When a node lags, others are asked after the hedge delay, and the first that suffice win") {
  Stored drive;
  drive.holder(2).faults.delay = 500ms;
  const MonotonicTime start = drive.loop.now();
  const auto answer = drive.fetch(2, 3);
  drive.check(answer, 2);
  CHECK(answer->size() == 3);
  CHECK(drive.loop.now() - start == 30ms);
  CHECK(drive.counters().hedged_reads == 3);
  CHECK(drive.holder(2).running == 0);  // the rest was cancelled
}

TEST_CASE("A lagging node that answers before the others wins all the same") {
  Stored drive;
  for (auto& node : drive.nodes) node->faults.delay = 200ms;
  drive.holder(2).faults.delay = 100ms;
  const MonotonicTime start = drive.loop.now();
  const auto answer = drive.fetch(2, 3);
  drive.check(answer, 2);
  CHECK(answer->size() == 1);
  CHECK(drive.loop.now() - start == 100ms);
}

TEST_CASE("A node that always takes its time is not hedged before that time") {
  Stored drive;
  for (auto& node : drive.nodes) node->faults.delay = 100ms;
  drive.loop.run_for(3min);  // probes show what is usual
  const auto before = drive.counters();
  for (int i = 0; i < 10; ++i) CHECK(drive.fetch(2, 3)->size() == 1);
  CHECK(drive.counters().hedged_reads == before.hedged_reads);
}

TEST_CASE("A node that is always slow is not waited for when enough others are always quick") {
  Stored drive;
  for (auto& node : drive.nodes) node->faults.delay = 5ms;
  drive.holder(2).faults.delay = 700ms;
  drive.loop.run_for(3min);
  const MonotonicTime start = drive.loop.now();
  drive.check(drive.fetch(2, 3), 2);
  CHECK(drive.loop.now() - start == 50ms);  // 30 ms, three times 5 ms, and the others' 5 ms
}

TEST_CASE("A node that takes over a second for most reads is slow, and quick again once it is quick") {
  Stored drive;
  const auto node = drive.index_of(drive.homes[2].node);
  drive.node(node).faults.delay = 1500ms;
  drive.loop.run_for(10min);
  CHECK(drive.state(node) == NodeState::slow);
  drive.node(node).faults.delay = 1ms;
  drive.loop.run_for(10min);
  CHECK(drive.state(node) == NodeState::ok);
}

TEST_CASE("While the needed ones lag, one more is asked at a time") {
  Stored drive;
  for (std::size_t shard : {0, 1, 2}) drive.holder(shard).faults.hangs = true;
  const MonotonicTime start = drive.loop.now();
  drive.check(drive.fetch(none, 3), none);
  CHECK(drive.loop.now() - start <= 90ms);
}

TEST_CASE("A node whose answer does not verify is known as lying, is asked last, and can win trust back") {
  Stored drive;
  const auto liar = drive.index_of(drive.homes[0].node);
  const std::size_t shard = drive.homes[0].shard.value;
  drive.node(liar).faults.garbage = true;
  drive.check(drive.fetch(shard, 3), shard);
  CHECK(drive.state(liar) == NodeState::lying);
  CHECK(drive.counters().bad_shards == 1);
  CHECK_FALSE(drive.engine->nodes()[liar].last_error.empty());
  const auto asked = drive.node(liar).gets;
  drive.check(drive.fetch(none, 3), none);
  CHECK(drive.node(liar).gets == asked);
  UploadRequest more = drive.upload_request(6);
  more.object_name = [](ShardIndex index, NodeId) { return "more-" + std::to_string(index.value); };
  more.on_stored = {};
  CHECK_FALSE(drive.upload(std::move(more)));  // five nodes are left to trust
  drive.node(liar).faults.garbage = false;
  for (int i = 0; i < HealthTable::verified_to_trust; ++i) drive.check(drive.fetch(shard, 5), shard);
  CHECK(drive.state(liar) == NodeState::ok);
}

TEST_CASE("A read that cannot succeed fails at once and says how much is missing") {
  Stored drive;
  for (std::size_t shard : {0, 1, 2, 3}) drive.holder(shard).faults.absent = true;
  const auto answer = drive.fetch(0, 3);
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Code::too_few_nodes);
  CHECK(answer.error().what.find("of the 3 shards needed") != std::string::npos);
  CHECK(answer.error().what.find("memory:") != std::string::npos);
}

TEST_CASE("A node that came back is read although no probe has seen it yet") {
  EngineOptions options;
  options.probe_interval = 24h;
  Stored drive(options);
  for (std::size_t shard : {0, 1, 2, 3}) drive.holder(shard).faults.absent = true;
  CHECK_FALSE(drive.fetch(0, 3));
  for (std::size_t shard : {0, 1, 2, 3}) CHECK(drive.state(drive.index_of(drive.homes[shard].node)) != NodeState::full);
  for (auto& node : drive.nodes) node->faults.absent = false;
  drive.check(drive.fetch(0, 3), 0);
}

TEST_CASE("A read ends at its deadline whatever the nodes do") {
  Stored drive;
  for (auto& node : drive.nodes) node->faults.hangs = true;
  FetchRequest request = drive.fetch_request(1, 3);
  request.deadline = drive.loop.now() + 2s;
  const MonotonicTime start = drive.loop.now();
  const auto answer = drive.fetch(std::move(request));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Code::timed_out);
  CHECK(drive.loop.now() - start == 2s);
}

TEST_CASE("Nodes that answer nothing are given up in time also without a deadline") {
  Stored drive;
  for (auto& node : drive.nodes) node->faults.hangs = true;
  const MonotonicTime start = drive.loop.now();
  const auto answer = drive.fetch(1, 3);
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Code::too_few_nodes);
  CHECK(drive.loop.now() - start <= 40s);
}

TEST_CASE("A cancelled read ends once, at once, and ends its calls") {
  Stored drive;
  for (auto& node : drive.nodes) node->faults.delay = 1h;
  FetchRequest request = drive.fetch_request(1, 3);
  std::vector<Code> ends;
  request.done = [&](auto result) { ends.push_back(result.error().code); };
  const auto transfer = drive.engine->fetch(std::move(request));
  drive.loop.run_for(100ms);
  CHECK(ends.empty());
  transfer->cancel();
  drive.loop.run_ready();
  CHECK(ends == std::vector<Code>{Code::cancelled});
  for (auto& node : drive.nodes) CHECK(node->running == 0);
}

TEST_CASE("A shard that nobody can decode from is no help, and unknown nodes are no nodes") {
  Stored drive;
  FetchRequest request = drive.fetch_request(1, 0);
  drive.holder(1).faults.absent = true;
  CHECK(drive.fetch(std::move(request)).error().code == Code::too_few_nodes);
  FetchRequest strangers = drive.fetch_request(none, 3);
  for (auto& source : strangers.others) source.home.node = NodeId();
  CHECK(drive.fetch(std::move(strangers)).error().code == Code::too_few_nodes);
}

TEST_CASE("Reads do not wait behind uploads") {
  EngineOptions options;
  options.transfers_per_node_max = 4;
  Stored drive(options);
  for (auto& node : drive.nodes) node->faults.delay = 10ms;
  int uploads = 0;
  for (int i = 0; i < 50; ++i) {
    UploadRequest request = drive.upload_request(6);
    request.object_name = [i](ShardIndex shard, NodeId) { return "u" + std::to_string(i) + "-" + std::to_string(shard.value); };
    request.on_stored = {};
    request.done = [&](Result<>) { ++uploads; };
    drive.engine->upload(std::move(request));
  }
  drive.loop.run_for(15ms);
  const MonotonicTime start = drive.loop.now();
  CHECK(drive.fetch(1, 3)->size() == 1);
  CHECK(drive.loop.now() - start == 10ms);
  CHECK(uploads < 50);
}

TEST_CASE("A node that lagged twice is not waited for a third time, until it keeps up again") {
  Stored drive;
  for (auto& node : drive.nodes) node->faults.delay = 5ms;
  drive.holder(2).faults.delay = 700ms;
  for (int i = 0; i < HealthTable::lags_max; ++i) {
    const MonotonicTime start = drive.loop.now();
    drive.check(drive.fetch(2, 3), 2);
    CHECK(drive.loop.now() - start >= 35ms);
  }
  for (int i = 0; i < 5; ++i) {
    const MonotonicTime start = drive.loop.now();
    drive.check(drive.fetch(2, 3), 2);
    CHECK(drive.loop.now() - start == 5ms);
  }
  drive.holder(2).faults.delay = 1ms;
  drive.check(drive.fetch(2, 3), 2);
  const auto before = drive.counters();
  CHECK(drive.fetch(2, 3)->size() == 1);
  CHECK(drive.counters().node_reads == before.node_reads + 1);
}

TEST_CASE("Reads keep to their limit, and nobody is taken for slow because of it") {
  Stored drive;
  Flow flow;
  flow.download_limit = 50'000;
  drive.engine->set_flow(flow);
  const auto before = drive.counters();
  int ended = 0;
  const MonotonicTime start = drive.loop.now();
  for (int i = 0; i < 1000; ++i) {
    FetchRequest request = drive.fetch_request(static_cast<std::size_t>(i % 6), 3);
    request.done = [&](auto result) {
      CHECK(result);
      ++ended;
    };
    drive.engine->fetch(std::move(request));
  }
  REQUIRE(drive.loop.run_until([&] { return ended == 1000; }));
  CHECK(drive.loop.now() - start >= 9900ms);  // 500,000 bytes, but for the last
  CHECK(drive.loop.now() - start <= 10100ms);
  CHECK(drive.counters().node_reads == before.node_reads + 1000);
  for (std::size_t i = 0; i < 6; ++i) CHECK(drive.state(i) == NodeState::ok);
}
