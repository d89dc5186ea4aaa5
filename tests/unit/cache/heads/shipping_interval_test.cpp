// Nodes of a kind that likes fewer requests: what they get of the journal, and when; and what counts as told meanwhile.
#include <catch2/catch.hpp>

#include "tests/support/recovery_fixture.h"

using namespace atl;
using namespace std::chrono_literals;

namespace {

constexpr Duration interval = 5min;

struct Metered : RecoveryFixture {
  /// The first `count` nodes cost something for each request.
  explicit Metered(std::size_t count, Redundancy redundancy = {3, 6}) : RecoveryFixture(redundancy, at_once()) {
    for (std::size_t i = 0; i < count; ++i) moods.intervals[node_id(i)] = interval;
    close();
    open();
    put("first", random.bytes(1'000));
    sync_full();
    runtime.advance(interval + 10s);
    moods.puts.clear();
  }
  /// What other nodes are told is told them one by one.
  static DriveOptions at_once() {
    DriveOptions options;
    options.ship_interval = 0s;
    return options;
  }
  /// Somebody saves every three seconds.
  void save_for(Duration time) {
    for (const MonotonicTime end = runtime.clock().now() + time; runtime.clock().now() < end; runtime.advance(3s))
      put("file " + std::to_string(++saved), random.bytes(500));
  }
  std::size_t puts(std::size_t node) { return moods.puts[node_id(node)].size(); }
  std::uint64_t unshipped() { return drive->status().journal_unshipped_seconds; }
  int saved = 0;
};

}  // namespace

TEST_CASE("nodes that like fewer requests get what the others were told of one by one in one object, later", "[ship-interval]") {
  Metered world(2);
  world.save_for(1min);  // the first change after a pause is told at once
  for (std::size_t node : {0, 1}) CHECK(world.puts(node) <= 1);
  for (std::size_t node : {2, 3, 4, 5}) CHECK(world.puts(node) >= 15);
  CHECK(world.unshipped() <= 4);
  world.moods.puts.clear();
  world.save_for(3min);
  for (std::size_t node : {0, 1}) CHECK(world.puts(node) == 0);
  world.save_for(2min);
  for (std::size_t node : {0, 1}) CHECK(world.puts(node) == 1);
  world.runtime.advance(interval + 1min);
  for (std::size_t node : {0, 1}) CHECK(world.puts(node) == 2);
  // A batch brings all that there is: those two nodes tell of the newest state.
  world.put_away();
  world.only({0, 1});
  const HeadSurvey survey = world.survey();
  REQUIRE(survey.head);
  world.rebuild(*survey.head);
  world.options.read_only = true;
  world.open();
  CHECK(world.there("file 1"));
  CHECK(world.there("file " + std::to_string(world.saved)));
}

TEST_CASE("what only the other nodes were told of does not count while it would not survive what is promised", "[ship-interval]") {
  Metered world(4);
  world.save_for(30s);  // the first change opens a batch
  world.save_for(1min);
  CHECK(world.puts(5) >= 20);
  CHECK(world.puts(0) <= 1);
  CHECK(world.unshipped() >= 80);  // of the oldest change that is on two nodes only
  CHECK(world.drive->status().protection < Protection::protected_);
  world.save_for(interval - 80s);
  CHECK(world.unshipped() <= 10);
  world.runtime.advance(interval + 1min);
  CHECK(world.unshipped() == 0);
  CHECK(world.drive->status().protection == Protection::full);
}

TEST_CASE("where all nodes like fewer requests, heads are made as often as they take one", "[ship-interval]") {
  Metered world(6);
  world.save_for(30min);
  for (std::size_t node = 0; node < 6; ++node) {
    CHECK(world.puts(node) >= 5);
    CHECK(world.puts(node) <= 7);
  }
  CHECK(world.unshipped() <= 320);
  CHECK(world.unshipped() > 0);
}

TEST_CASE("whoever waits for the nodes does not wait for their interval", "[ship-interval]") {
  Metered world(6);
  world.save_for(30s);
  const MonotonicTime before = world.runtime.clock().now();
  world.put("now", world.random.bytes(1'000));
  world.sync_full();
  CHECK(world.runtime.clock().now() - before < 20s);
  CHECK(world.unshipped() == 0);
  for (std::size_t node = 0; node < 6; ++node) CHECK(world.puts(node) <= 3);
}

TEST_CASE("a head counts on as many nodes as survive what protected data survives", "[ship-interval]") {
  Metered world(0, {1, 6});  // protected: on five; four may be lost then
  for (std::size_t node : {0, 1}) world.engine.all()[node].refuses = true;
  world.put("file", world.random.bytes(1'000));
  const auto synced = world.drive->sync(SyncLevel::protected_, world.runtime.clock().now() + 1min, {}, {});
  CHECK_FALSE(synced);
  CHECK(world.unshipped() >= 59);
  world.engine.all()[0].refuses = false;
  CHECK(world.drive->sync(SyncLevel::protected_, world.runtime.clock().now() + 1min, {}, {}));
  CHECK(world.unshipped() == 0);
}

TEST_CASE("nothing is full before its journal survives the loss of as many nodes as full data does", "[ship-interval]") {
  Metered world(1, {2, 6});  // four may be lost: five hold the journal
  world.engine.all()[5].refuses = true;
  world.save_for(30s);  // the first change opened a batch
  world.put("file", world.random.bytes(1'000));
  world.runtime.advance(30s);
  CHECK(world.unshipped() == 0);
  CHECK(world.drive->status().protection == Protection::protected_);
  world.runtime.advance(interval);
  CHECK(world.drive->status().protection == Protection::full);
}
