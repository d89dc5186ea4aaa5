#include "tests/support/step_runtime.h"

#include <stdexcept>
#include <utility>

namespace atl {

class StepRuntime::StepEvent final : public Event {
 public:
  explicit StepEvent(StepRuntime& runtime) : runtime_(runtime) {}

  void set() override { set_ = true; }
  void reset() override { set_ = false; }
  bool wait_until(std::optional<MonotonicTime> deadline) override {
    while (!set_) {
      if (runtime_.run_one()) continue;
      if (runtime_.fire_one(deadline)) continue;
      if (!deadline) throw std::logic_error("an event is waited for that nothing will set");
      const MonotonicTime now = runtime_.clock_.now();
      if (*deadline > now) runtime_.clock_.advance(*deadline - now);
      return set_;
    }
    return true;
  }

 private:
  StepRuntime& runtime_;
  bool set_ = false;
};

StepRuntime::StepRuntime(std::optional<std::uint64_t> order_seed) {
  if (order_seed) order_.emplace(*order_seed);
}

void StepRuntime::post(Task task) {
  queue_.push_back(std::move(task));
}

Runtime::TimerId StepRuntime::after(Duration delay, Task task) {
  const TimerId id = next_timer_++;
  timers_.emplace(std::pair(clock_.now() + delay, id), std::move(task));
  return id;
}

bool StepRuntime::cancel(TimerId timer) {
  for (auto it = timers_.begin(); it != timers_.end(); ++it) {
    if (it->first.second != timer) continue;
    timers_.erase(it);
    return true;
  }
  return false;
}

std::unique_ptr<Event> StepRuntime::make_event() {
  return std::make_unique<StepEvent>(*this);
}

bool StepRuntime::run_one() {
  if (queue_.empty()) return false;
  const std::size_t pick = order_ ? static_cast<std::size_t>(order_->below(queue_.size())) : 0;
  Task task = std::move(queue_[pick]);
  queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(pick));
  task();
  return true;
}

bool StepRuntime::fire_one(std::optional<MonotonicTime> limit) {
  if (timers_.empty()) return false;
  const auto first = timers_.begin();
  const MonotonicTime due = first->first.first;
  if (limit && due > *limit) return false;
  const MonotonicTime now = clock_.now();
  if (due > now) clock_.advance(due - now);
  Task task = std::move(first->second);
  timers_.erase(first);
  task();
  return true;
}

std::size_t StepRuntime::run_until_idle() {
  std::size_t count = 0;
  for (;;) {
    if (run_one() || fire_one(clock_.now())) {
      ++count;
    } else {
      return count;
    }
  }
}

void StepRuntime::advance(Duration by) {
  const MonotonicTime end = clock_.now() + by;
  run_until_idle();
  while (fire_one(end)) run_until_idle();
  const MonotonicTime now = clock_.now();
  if (end > now) clock_.advance(end - now);
  run_until_idle();
}

}  // namespace atl
