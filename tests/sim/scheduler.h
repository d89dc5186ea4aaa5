// One thread, one virtual clock, for the cache's tasks and the engine's loop alike: what the simulator runs both on.
//
// Tasks of the Runtime are fibers: one that waits for an Event gives the thread to others, as a blocked thread would.
// The engine's handlers and timers run between them and never wait. Which of all that could run does run next is drawn
// from the seed; time moves, to the next timer, only when nothing can run. So a run replays exactly.
//
// Lifetime: loops, events and tasks end before their Scheduler. What is still waiting when it is destroyed never goes on.
// Not for use with threads.
#pragma once

#include <boost/asio/io_context.hpp>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "engine/base/runtime.h"
#include "engine/loop/loop.h"
#include "tests/support/manual_clock.h"
#include "tests/support/seeded_random.h"

namespace atl::sim {

class Fiber;
class SimulatedLoop;

class Scheduler final : public Runtime {
 public:
  explicit Scheduler(std::uint64_t seed);
  ~Scheduler() override;

  Clock& clock() override { return clock_; }
  void post(Task task) override;
  TimerId after(Duration delay, Task task) override;
  bool cancel(TimerId timer) override;
  std::unique_ptr<Event> make_event() override;

  MonotonicTime now() const { return clock_.now(); }
  /// Runs until `main`, which may wait, has returned. What it or another task throws is thrown here. std::logic_error if
  /// nothing could run any more: a deadlock of the code under test.
  void run(Task main);
  /// Waits, in a task.
  void sleep(Duration time);
  /// Time passes without anybody running, as while a computer is suspended or off. Timers that fell due meanwhile fire
  /// late.
  void jump(Duration time) {
    clock_.advance(time);
    ++jumped_;
  }
  /// How often time has jumped so far.
  std::uint64_t jumped() const { return jumped_; }
  void step_wall(std::int64_t seconds);

  std::uint64_t steps() const { return steps_; }
  std::size_t fibers_most() const { return fibers_most_; }
  std::size_t queue_most() const { return queue_most_; }

 private:
  friend class Fiber;
  friend class SimulatedLoop;
  class SimulatedEvent;
  struct Ready {
    Task task;                // a fresh one, or
    Fiber* fiber = nullptr;  // one that waited
  };

  bool step();
  void run_ready(Ready ready);
  bool advance();
  /// Gives the thread away until somebody makes this fiber ready again.
  void suspend();
  Fiber* current();

  ManualClock clock_;
  SeededRandom order_;
  std::vector<Ready> ready_;
  std::map<std::pair<MonotonicTime, TimerId>, Task> timers_;
  std::map<TimerId, MonotonicTime> due_;
  TimerId last_timer_ = 0;
  std::vector<SimulatedLoop*> loops_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_fibers_;
  Fiber* current_ = nullptr;
  std::exception_ptr thrown_;
  std::uint64_t steps_ = 0;
  std::uint64_t jumped_ = 0;
  std::size_t fibers_most_ = 0;
  std::size_t queue_most_ = 0;
};

/// The loop of one engine on a Scheduler. Destroying it drops what was posted and every coroutine that still runs on it,
/// as the end of a process does; the engine is gone by then, the nodes' objects are not.
class SimulatedLoop final : public Loop {
 public:
  explicit SimulatedLoop(Scheduler& scheduler);
  ~SimulatedLoop() override;

  asio::any_io_executor executor() override { return io_.get_executor(); }
  MonotonicTime now() const override { return scheduler_.now(); }
  TimerId after(Duration delay, std::function<void()> task) override;
  void cancel(TimerId timer) override;
  void run_and_wait(std::function<void()> task) override;

 private:
  friend class Scheduler;
  bool run_one();
  std::optional<MonotonicTime> next_due() const;
  void fire();

  Scheduler& scheduler_;
  asio::io_context io_{1};
  std::map<std::pair<MonotonicTime, TimerId>, std::function<void()>> timers_;
  std::map<TimerId, MonotonicTime> due_;
  TimerId last_timer_ = 0;
};

}  // namespace atl::sim
