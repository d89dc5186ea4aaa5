#include "tests/sim/scheduler.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <stdexcept>

#include "tests/sim/fiber.h"

namespace atl::sim {

class Scheduler::SimulatedEvent final : public Event {
 public:
  explicit SimulatedEvent(Scheduler& scheduler) : scheduler_(scheduler) {}

  void set() override {
    set_ = true;
    for (const auto& waiter : waiters_) wake(*waiter);
    waiters_.clear();
  }
  void reset() override { set_ = false; }

  bool wait_until(std::optional<MonotonicTime> deadline) override {
    if (set_) return true;
    if (deadline && *deadline <= scheduler_.now()) return false;
    const auto waiter = std::make_shared<Waiter>();
    waiter->fiber = scheduler_.current();
    waiters_.push_back(waiter);
    TimerId timer = 0;
    if (deadline) timer = scheduler_.after(*deadline - scheduler_.now(), [this, waiter] { wake(*waiter); });
    scheduler_.suspend();
    if (timer != 0) scheduler_.cancel(timer);
    std::erase(waiters_, waiter);
    return set_;
  }

 private:
  struct Waiter {
    Fiber* fiber = nullptr;
    bool woken = false;
  };
  void wake(Waiter& waiter) {
    if (std::exchange(waiter.woken, true)) return;
    scheduler_.ready_.push_back({{}, waiter.fiber});
  }

  Scheduler& scheduler_;
  std::vector<std::shared_ptr<Waiter>> waiters_;
  bool set_ = false;
};

Scheduler::Scheduler(std::uint64_t seed) : order_(seed) {}
Scheduler::~Scheduler() = default;

void Scheduler::post(Task task) {
  ready_.push_back({std::move(task), nullptr});
  queue_most_ = std::max(queue_most_, ready_.size());
}

Runtime::TimerId Scheduler::after(Duration delay, Task task) {
  const TimerId id = ++last_timer_;
  const MonotonicTime due = now() + std::max(delay, Duration::zero());
  timers_.emplace(std::pair(due, id), std::move(task));
  due_.emplace(id, due);
  return id;
}

bool Scheduler::cancel(TimerId timer) {
  const auto found = due_.find(timer);
  if (found == due_.end()) return false;
  timers_.erase({found->second, timer});
  due_.erase(found);
  return true;
}

std::unique_ptr<Event> Scheduler::make_event() { return std::make_unique<SimulatedEvent>(*this); }

Fiber* Scheduler::current() {
  if (current_ == nullptr) throw std::logic_error("the engine's thread waits for an event");
  return current_;
}

void Scheduler::suspend() { current()->stop(); }

void Scheduler::sleep(Duration time) {
  const auto event = make_event();
  event->wait_until(now() + time);
}

void Scheduler::step_wall(std::int64_t seconds) {
  Timestamp wall = clock_.wall_now();
  wall.seconds += seconds;
  clock_.set_wall(wall);
}

void Scheduler::run(Task main) {
  bool ended = false;
  post([&, main = std::move(main)] {
    main();
    ended = true;
  });
  while (!ended) {
    if (!step()) throw std::logic_error("everything waits for what nothing will do");
    if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
  }
}

bool Scheduler::step() {
  ++steps_;
  // The engine's thread and the tasks run side by side: which is ahead is a matter of chance.
  const bool loops_first = ready_.empty() || order_.below(2) == 0;
  if (loops_first) {
    for (SimulatedLoop* loop : loops_)
      if (loop->run_one()) return true;
  }
  if (!ready_.empty()) {
    const auto pick = static_cast<std::ptrdiff_t>(order_.below(ready_.size()));
    Ready next = std::move(ready_[static_cast<std::size_t>(pick)]);
    ready_.erase(ready_.begin() + pick);
    run_ready(std::move(next));
    return true;
  }
  return advance();
}

void Scheduler::run_ready(Ready ready) {
  Fiber* fiber = ready.fiber;
  if (fiber == nullptr) {
    if (idle_fibers_.empty()) {
      fibers_.push_back(std::make_unique<Fiber>());
      idle_fibers_.push_back(fibers_.back().get());
      fibers_most_ = fibers_.size();
    }
    fiber = idle_fibers_.back();
    idle_fibers_.pop_back();
    fiber->take(std::move(ready.task));
  }
  current_ = fiber;
  fiber->resume();
  current_ = nullptr;
  if (!fiber->ended()) return;
  idle_fibers_.push_back(fiber);
  if (auto thrown = fiber->take_thrown()) thrown_ = thrown;
}

bool Scheduler::advance() {
  SimulatedLoop* first_loop = nullptr;
  std::optional<MonotonicTime> due;
  if (!timers_.empty()) due = timers_.begin()->first.first;
  for (SimulatedLoop* loop : loops_) {
    const auto next = loop->next_due();
    if (!next || (due && *due <= *next)) continue;
    due = next;
    first_loop = loop;
  }
  if (!due) return false;
  if (*due > now()) clock_.advance(*due - now());
  if (first_loop != nullptr) {
    first_loop->fire();
    return true;
  }
  auto timer = timers_.extract(timers_.begin());
  due_.erase(timer.key().second);
  post(std::move(timer.mapped()));
  return true;
}

SimulatedLoop::SimulatedLoop(Scheduler& scheduler) : scheduler_(scheduler) { scheduler_.loops_.push_back(this); }

SimulatedLoop::~SimulatedLoop() { std::erase(scheduler_.loops_, this); }

Loop::TimerId SimulatedLoop::after(Duration delay, std::function<void()> task) {
  const TimerId id = ++last_timer_;
  const MonotonicTime due = now() + std::max(delay, Duration::zero());
  timers_.emplace(std::pair(due, id), std::move(task));
  due_.emplace(id, due);
  return id;
}

void SimulatedLoop::cancel(TimerId timer) {
  const auto found = due_.find(timer);
  if (found == due_.end()) return;
  timers_.erase({found->second, timer});
  due_.erase(found);
}

void SimulatedLoop::run_and_wait(std::function<void()> task) {
  bool ran = false;
  asio::post(io_, [&] {
    task();
    ran = true;
  });
  while (!ran) run_one();
}

bool SimulatedLoop::run_one() {
  if (io_.stopped()) io_.restart();
  return io_.poll_one() > 0;
}

std::optional<MonotonicTime> SimulatedLoop::next_due() const {
  if (timers_.empty()) return std::nullopt;
  return timers_.begin()->first.first;
}

void SimulatedLoop::fire() {
  auto timer = timers_.extract(timers_.begin());
  due_.erase(timer.key().second);
  timer.mapped()();
}

}  // namespace atl::sim
