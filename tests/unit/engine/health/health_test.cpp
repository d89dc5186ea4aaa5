#include "engine/health/health.h"

#include <catch2/catch.hpp>

#include "tests/support/virtual_loop.h"

using namespace atl;
using namespace std::chrono_literals;

namespace {

struct One {
  VirtualLoop loop;
  HealthTable health{loop, std::vector<NodeSpec>(1)};
  int changes = 0;

  One() {
    health.on_change([this](std::size_t) { ++changes; });
  }
  void fail_with(Code code) { health.failed(0, Error(code, "as the test says")); }
  NodeUsage free(std::uint64_t bytes) {
    NodeUsage usage;
    usage.free_bytes = bytes;
    return usage;
  }
};

}  // namespace

TEST_CASE("A node is absent until it answers, and each change is told once") {
  One node;
  CHECK(node.health.state(0) == NodeState::absent);
  node.health.answered(0);
  node.health.answered(0);
  CHECK(node.health.state(0) == NodeState::ok);
  CHECK(node.changes == 1);
  node.fail_with(Code::unavailable);
  node.fail_with(Code::unavailable);
  CHECK(node.health.state(0) == NodeState::absent);
  CHECK(node.health.snapshot()[0].last_error == "as the test says");
  CHECK(node.changes == 2);
  node.health.answered(0);
  CHECK(node.health.snapshot()[0].last_error.empty());
}

TEST_CASE("One failure does not make a node absent, three in a row do") {
  One node;
  node.health.answered(0);
  node.fail_with(Code::io);
  node.fail_with(Code::io);
  node.health.answered(0);
  node.fail_with(Code::io);
  node.fail_with(Code::io);
  CHECK(node.health.state(0) == NodeState::ok);
  node.fail_with(Code::io);
  CHECK(node.health.state(0) == NodeState::absent);
}

TEST_CASE("That an object is missing or another says nothing against its node") {
  One node;
  node.health.answered(0);
  for (int i = 0; i < 10; ++i) {
    node.fail_with(Code::not_found);
    node.fail_with(Code::conflict);
    node.fail_with(Code::cancelled);
  }
  CHECK(node.health.state(0) == NodeState::ok);
}

TEST_CASE("A full node is tried again when there is more room, when something was removed, or after a minute") {
  One node;
  node.health.answered(0);
  node.health.measured(0, node.free(1000));
  node.fail_with(Code::no_space);
  node.health.measured(0, node.free(1000));
  CHECK(node.health.state(0) == NodeState::full);
  CHECK_FALSE(node.health.placeable(0));
  CHECK(node.health.reachable(0));
  node.health.measured(0, node.free(2000));
  CHECK(node.health.state(0) == NodeState::ok);
  node.fail_with(Code::no_space);
  node.health.removed(0);
  CHECK(node.health.state(0) == NodeState::ok);
  node.fail_with(Code::no_space);
  node.loop.run_for(HealthTable::full_for_max - 1s);
  node.health.measured(0, node.free(2000));
  CHECK(node.health.state(0) == NodeState::full);
  node.loop.run_for(1s);
  node.health.measured(0, node.free(2000));
  CHECK(node.health.state(0) == NodeState::ok);
}

TEST_CASE("A liar is trusted again after verified answers in a row, or after a time") {
  One node;
  node.health.answered(0);
  node.health.answered_badly(0, "lies");
  node.health.verified(0);
  node.health.verified(0);
  node.health.answered_badly(0, "lies again");
  node.health.verified(0);
  node.health.verified(0);
  CHECK(node.health.state(0) == NodeState::lying);
  node.health.verified(0);
  CHECK(node.health.state(0) == NodeState::ok);
  node.health.answered_badly(0, "lies");
  node.loop.run_for(HealthTable::lying_for_max);
  node.health.measured(0, node.free(1));
  CHECK(node.health.state(0) == NodeState::ok);
}

TEST_CASE("Latencies are those of the recent reads") {
  LatencyWindow window;
  CHECK(window.percentile(50) == Duration::zero());
  for (int i = 1; i <= 100; ++i) window.add(Duration(i));
  CHECK(window.percentile(0) == Duration(69));
  CHECK(window.percentile(50) == Duration(85));
  CHECK(window.percentile(100) == Duration(100));
}

TEST_CASE("A node's answers, failures and latencies are counted, and shown") {
  One node;
  node.health.answered(0);
  node.fail_with(Code::timed_out);
  node.fail_with(Code::io);
  node.fail_with(Code::not_found);  // it answered
  node.fail_with(Code::cancelled);  // nobody's fault
  node.health.was_late(0);
  node.health.answered_badly(0, "lies");
  for (int i = 1; i <= 3; ++i) node.health.read_took(0, std::chrono::milliseconds(i));
  CHECK_FALSE(node.health.statistics().begin()->second.read_median);
  for (int i = 4; i <= 20; ++i) node.health.read_took(0, std::chrono::milliseconds(i));
  for (int i = 1; i <= 4; ++i) node.health.write_took(0, std::chrono::seconds(i));
  const NodeStatistics known = node.health.statistics().begin()->second;
  CHECK(known.answered == 2);
  CHECK(known.timed_out == 1);
  CHECK(known.failed == 1);
  CHECK(known.late_puts == 1);
  CHECK(known.bad_answers == 1);
  CHECK(known.read_median == std::chrono::milliseconds(11));
  CHECK(known.read_p95 == std::chrono::milliseconds(20));
  CHECK(known.write_median == std::chrono::seconds(3));
  CHECK(known.write_p95 == std::chrono::seconds(4));
}
