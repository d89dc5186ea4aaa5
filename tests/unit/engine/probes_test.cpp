// How often nodes are asked whether they are there: requests cost something at some of them.
#include <catch2/catch.hpp>

#include "tests/support/virtual_engine.h"

using namespace atl;
using namespace std::chrono_literals;

namespace {

/// Node 0 costs nothing, node 1 is asked after five silent minutes.
struct Asked : VirtualEngine {
  Asked() : VirtualEngine(1) {
    make_node();
    nodes[1]->silence = 5min;
    REQUIRE(engine->set_nodes(specs));
    loop.run_for(1s);
    REQUIRE(state(0) == NodeState::ok);
    REQUIRE(state(1) == NodeState::ok);
    restart();
  }
  void restart() {
    for (const auto& node : nodes) node->usages = 0;
  }
  Result<> stat(std::size_t i) {
    std::optional<Result<ObjectStat>> answer;
    engine->stat(specs[i].id, "x", [&](Result<ObjectStat> result) { answer = std::move(result); });
    REQUIRE(loop.run_until([&] { return answer.has_value(); }, 1h));
    return *answer ? Result<>() : fail(answer->error());
  }
};

}  // namespace

TEST_CASE("A present node is asked whether it is there after minutes of silence where asking costs, else every few seconds", "[probes]") {
  Asked drive;
  drive.loop.run_for(24h);
  CHECK(drive.node(0).usages >= 17'000);
  CHECK(drive.node(1).usages >= 280);
  CHECK(drive.node(1).usages <= 288);
}

TEST_CASE("Whatever a node answers counts, so that a busy one is asked for its room alone", "[probes]") {
  Asked drive;
  for (int i = 0; i < 120; ++i) {
    drive.loop.run_for(1min);
    CHECK(drive.stat(1).error().code == Code::not_found);
  }
  CHECK(drive.node(1).usages == 2);
}

TEST_CASE("An absent node is looked for every few seconds, whatever asking costs", "[probes]") {
  Asked drive;
  drive.node(1).faults.absent = true;
  CHECK_FALSE(drive.stat(1));
  CHECK(drive.state(1) == NodeState::absent);
  drive.loop.run_for(1min);
  CHECK(drive.node(1).usages >= 11);
  drive.node(1).faults.absent = false;
  drive.loop.run_for(6s);
  CHECK(drive.state(1) == NodeState::ok);
}

TEST_CASE("A node that owes an answer is asked at once whether it is there", "[probes]") {
  std::optional<Result<>> put;  // outlives the drive, which answers what is still open when it closes
  Asked drive;
  drive.node(1).faults.hangs = true;
  drive.engine->put(drive.specs[1].id, "x", std::make_shared<const Bytes>(Bytes{1}), [&](Result<> result) { put = std::move(result); });
  drive.loop.run_for(20s);  // a put alone may take two minutes
  CHECK(drive.state(1) == NodeState::absent);
}

TEST_CASE("A full node is asked often, since it may have room again", "[probes]") {
  std::optional<Result<>> put;
  Asked drive;
  drive.node(1).faults.refuses = {Code::no_space};
  drive.engine->put(drive.specs[1].id, "x", std::make_shared<const Bytes>(Bytes{1}), [&](Result<> result) { put = std::move(result); });
  drive.loop.run_for(1s);
  REQUIRE(put);
  CHECK(drive.state(1) == NodeState::full);
  drive.loop.run_for(70s);
  CHECK(drive.state(1) == NodeState::ok);
}

TEST_CASE("Whoever wants to know now whether nodes are there has those asked that said nothing lately", "[probes]") {
  bool asked = false;
  Asked drive;
  drive.loop.run_for(1min);
  drive.restart();
  drive.node(1).faults.absent = true;
  CHECK(drive.state(1) == NodeState::ok);  // nobody knows yet
  drive.engine->check_nodes([&] { asked = true; });
  drive.loop.run_ready();
  CHECK(asked);
  CHECK(drive.state(1) == NodeState::absent);
  asked = false;
  drive.restart();
  drive.engine->check_nodes([&] { asked = true; });
  drive.loop.run_ready();
  CHECK(asked);  // there is nobody to wait for: an absent one is looked for anyway
  CHECK(drive.node(1).usages == 0);
}

TEST_CASE("Whoever waits for nodes that are asked is told when the last of them has answered or gone", "[probes]") {
  int asked = 0;
  Asked drive;
  drive.loop.run_for(1min);
  drive.node(1).faults.hangs = true;
  drive.engine->check_nodes([&] { ++asked; });
  drive.engine->check_nodes([&] { ++asked; });  // while it is being asked
  drive.loop.run_for(5s);
  CHECK(asked == 0);
  drive.loop.run_for(6s);
  CHECK(asked == 2);
  CHECK(drive.state(1) == NodeState::absent);
  drive.node(1).faults.hangs = false;
  REQUIRE(drive.loop.run_until([&] { return drive.state(1) == NodeState::ok; }, 2h));
  drive.loop.run_for(1min);
  drive.node(1).faults.hangs = true;
  drive.engine->check_nodes([&] { ++asked; });
  drive.loop.run_for(1s);
  REQUIRE(drive.engine->set_nodes({drive.specs[0]}));
  CHECK(asked == 3);
}
