#include "engine/base/thread_runtime.h"

#include <atomic>
#include <catch2/catch.hpp>

using namespace atl;
using namespace std::chrono_literals;

namespace {

/// A clock that stands until told.
class StandingClock final : public Clock {
 public:
  Timestamp wall_now() const override { return {}; }
  MonotonicTime now() const override { return MonotonicTime(Duration(nanoseconds_.load())); }
  void advance(Duration by) { nanoseconds_ += by.count(); }

 private:
  std::atomic<std::int64_t> nanoseconds_{1'000'000'000};
};

}  // namespace

TEST_CASE("A posted task runs, and an event tells who waits for it") {
  SystemClock clock;
  ThreadRuntime runtime(2, clock);
  const auto event = runtime.make_event();
  runtime.post([&] { event->set(); });
  CHECK(event->wait_until(std::nullopt));
  CHECK(event->wait_until(clock.now()));
  event->reset();
  CHECK_FALSE(event->wait_until(clock.now()));
}

TEST_CASE("Waiting ends at the deadline, and not before") {
  SystemClock clock;
  ThreadRuntime runtime(1, clock);
  const auto event = runtime.make_event();
  const MonotonicTime deadline = clock.now() + 20ms;
  CHECK_FALSE(event->wait_until(deadline));
  CHECK(clock.now() >= deadline);
}

TEST_CASE("Tasks of one worker run in the order in which they were posted") {
  SystemClock clock;
  std::vector<int> order;
  {
    ThreadRuntime runtime(1, clock);
    for (int i = 0; i < 1000; ++i) runtime.post([&order, i] { order.push_back(i); });
  }
  REQUIRE(order.size() == 1000);
  CHECK(std::is_sorted(order.begin(), order.end()));
}

TEST_CASE("Timers fire in the order of their due times, whatever the order in which they were set") {
  SystemClock clock;
  ThreadRuntime runtime(1, clock);
  const auto event = runtime.make_event();
  std::vector<int> order;
  runtime.after(30ms, [&] {
    order.push_back(3);
    event->set();
  });
  runtime.after(1ms, [&] { order.push_back(1); });
  runtime.after(15ms, [&] { order.push_back(2); });
  CHECK(event->wait_until(std::nullopt));
  CHECK(order == std::vector<int>{1, 2, 3});
}

TEST_CASE("A cancelled timer never fires, and one that fired cannot be cancelled") {
  SystemClock clock;
  ThreadRuntime runtime(1, clock);
  const auto event = runtime.make_event();
  std::atomic<bool> fired = false;
  const auto later = runtime.after(1h, [&] { fired = true; });
  const auto now = runtime.after(0ns, [&] { event->set(); });
  CHECK(runtime.cancel(later));
  CHECK_FALSE(runtime.cancel(later));
  CHECK(event->wait_until(std::nullopt));
  CHECK_FALSE(runtime.cancel(now));
  runtime.close();
  CHECK_FALSE(fired);
}

TEST_CASE("Time that passes while the computer sleeps counts for deadlines") {
  StandingClock clock;
  ThreadRuntime runtime(1, clock);
  const auto event = runtime.make_event();
  runtime.after(1h, [&] { event->set(); });
  clock.advance(2h);  // no thread is told: exactly what a suspend looks like
  CHECK(event->wait_until(std::nullopt));
}

TEST_CASE("Closing runs what was posted, drops timers with what they hold, and takes nothing new") {
  SystemClock clock;
  std::atomic<int> ran = 0;
  auto held = std::make_shared<int>(0);
  ThreadRuntime runtime(3, clock);
  const auto go = runtime.make_event();
  runtime.after(1h, [&ran, held] { ran += 1000; });
  for (int i = 0; i < 50; ++i) {
    runtime.post([&] {
      go->wait_until(std::nullopt);
      ++ran;
    });
  }
  go->set();
  runtime.close();
  CHECK(ran == 50);
  CHECK(held.use_count() == 1);
  runtime.post([&] { ++ran; });
  runtime.after(0ns, [&] { ++ran; });
  runtime.close();
  CHECK(ran == 50);
}
