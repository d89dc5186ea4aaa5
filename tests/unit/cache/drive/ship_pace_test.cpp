// When little goes to the nodes: laws over any history of changes, and the cases that people know.
#include "cache/drive/ship_pace.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <vector>

#include "tests/support/effort.h"
#include "tests/support/seeded_random.h"

using namespace atl;
using namespace std::chrono_literals;

namespace {

constexpr ShipPace::Limits limits{1s, 15s, 60s};
constexpr Duration tick = 500ms;

/// Somebody changes something now and then, and somebody looks each tick whether it is time.
struct Desk {
  ShipPace pace{limits};
  MonotonicTime now{1h};
  std::optional<ShipPace::Waiting> waiting;
  std::vector<MonotonicTime> shipped;
  Duration longest{};  // that a change has waited

  void save(bool much = false) {
    if (!waiting) waiting = ShipPace::Waiting{now, now, false};
    waiting->last = now;
    waiting->much = waiting->much || much;
  }
  void wait(Duration time) {
    for (const MonotonicTime end = now + time; now < end;) {
      now += std::min<Duration>(tick, end - now);
      if (!waiting) continue;
      longest = std::max(longest, now - waiting->since);
      if (!pace.is_due(*waiting, now)) continue;
      pace.shipped(now);
      shipped.push_back(now);
      waiting.reset();
    }
  }
  void save_each(Duration pause, Duration time) {
    for (const MonotonicTime end = now + time; now < end; wait(pause)) save();
  }
};

}  // namespace

TEST_CASE("a save after a quiet time goes to the nodes after the moment in which another might follow", "[ship-pace]") {
  Desk desk;
  for (int i = 0; i < 10; ++i) {
    desk.save();
    desk.wait(1s);
    CHECK(desk.shipped.size() == static_cast<std::size_t>(i + 1));
    desk.wait(1min);
  }
}

TEST_CASE("a person who saves a few times in a row waits for none of them", "[ship-pace]") {
  Desk desk;
  for (int i = 0; i < ShipPace::burst; ++i) {
    desk.save();
    desk.wait(2s);
  }
  CHECK(desk.shipped.size() == ShipPace::burst);
  CHECK(desk.longest == 1s);
}

TEST_CASE("whoever saves each ten seconds for eight hours ships once a minute, and never later than a minute after a save", "[ship-pace]") {
  Desk desk;
  desk.save_each(10s, 8h);
  CHECK(desk.shipped.size() >= 480);
  CHECK(desk.shipped.size() <= 480 + ShipPace::burst);
  CHECK(desk.longest <= 60s + tick);
}

TEST_CASE("changes without a pause are shipped all the same", "[ship-pace]") {
  Desk desk;
  desk.save_each(200ms, 10min);
  REQUIRE(desk.shipped.size() >= 10);
  CHECK(desk.longest <= 60s + tick);
  CHECK(desk.shipped.front() - MonotonicTime(1h) <= 15s + tick);
}

TEST_CASE("what is much goes without waiting for its turn", "[ship-pace]") {
  Desk desk;
  desk.save_each(10s, 10min);
  desk.wait(61s);
  desk.save();
  desk.wait(2s);
  const std::size_t before = desk.shipped.size();
  desk.save(true);
  desk.wait(1s);
  CHECK(desk.shipped.size() == before + 1);
}

TEST_CASE("after somebody asked for everything the next save is the first", "[ship-pace]") {
  Desk desk;
  desk.save_each(10s, 10min);
  desk.wait(61s);
  desk.pace.forget();
  const std::size_t before = desk.shipped.size();
  desk.save();
  desk.wait(1s);
  CHECK(desk.shipped.size() == before + 1);
}

TEST_CASE("over any history no change waits longer than a minute, and no hour has more shipments than it may", "[ship-pace]") {
  const std::uint64_t seed = GENERATE(range<std::uint64_t>(1, effort(200, 30)));
  CAPTURE(seed);
  SeededRandom random(seed);
  Desk desk;
  const std::uint64_t pause_ms_max = 1 + random.below(seed % 2 == 0 ? 3'000 : 200'000);
  while (desk.now < MonotonicTime(7h)) {
    desk.save();
    desk.wait(std::chrono::milliseconds(1 + random.below(pause_ms_max)));
  }
  CHECK(desk.longest <= 60s + tick);
  REQUIRE(!desk.shipped.empty());
  for (const Duration window : {Duration(5min), Duration(1h)}) {
    for (auto first = desk.shipped.begin(), last = first; last != desk.shipped.end(); ++last) {
      while (*last - *first >= window) ++first;
      CHECK(last - first + 1 <= ShipPace::burst + window / limits.interval);
    }
  }
}
