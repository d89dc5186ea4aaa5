// A Runtime on one thread under virtual time: nothing runs until the test steps it, and every run replays.
//
// Tasks run inside run_until_idle(), advance() and Event::wait_until(), which pumps the queue and then the timers until
// its event is set or its deadline has come. Waiting without a deadline for what nothing can set any more throws
// std::logic_error: a deadlock of the code under test. With a seed, waiting tasks run in a drawn order instead of first
// come, first served: post() promises no order. Not for use with other threads.
#pragma once

#include <deque>
#include <map>
#include <optional>

#include "engine/base/runtime.h"
#include "tests/support/manual_clock.h"
#include "tests/support/seeded_random.h"

namespace atl {

class StepRuntime final : public Runtime {
 public:
  explicit StepRuntime(std::optional<std::uint64_t> order_seed = std::nullopt);

  Clock& clock() override { return clock_; }
  ManualClock& manual_clock() { return clock_; }
  void post(Task task) override;
  TimerId after(Duration delay, Task task) override;
  bool cancel(TimerId timer) override;
  std::unique_ptr<Event> make_event() override;

  /// Runs what is posted, and what that posts, until nothing is left. Timers fire only if due. Returns tasks run.
  std::size_t run_until_idle();
  /// Moves time forward, firing timers at their moments and running what they post.
  void advance(Duration by);
  std::size_t queued() const { return queue_.size(); }
  std::size_t timers() const { return timers_.size(); }

 private:
  class StepEvent;
  bool run_one();
  /// Fires the first timer due by `limit`, moving the clock to it. False if there is none.
  bool fire_one(std::optional<MonotonicTime> limit);

  ManualClock clock_;
  std::optional<SeededRandom> order_;
  std::deque<Task> queue_;
  std::map<std::pair<MonotonicTime, TimerId>, Task> timers_;
  TimerId next_timer_ = 1;
};

}  // namespace atl
