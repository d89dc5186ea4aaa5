#include "engine/base/thread_runtime.h"

#include <pthread.h>

#include <algorithm>
#include <cassert>

#include "engine/base/signals_blocked.h"

namespace atl {

namespace {

/// Waits until told or until `deadline`, but never so long that a suspend could hide a deadline for more than the
/// recheck interval: condition variables sleep on a clock that stops while the computer does.
void wait_a_while(std::condition_variable& condition, std::unique_lock<std::mutex>& lock, Clock& clock,
                  std::optional<MonotonicTime> deadline) {
  if (!deadline) {
    condition.wait(lock);
    return;
  }
  const Duration left = *deadline - clock.now();
  if (left > Duration::zero()) condition.wait_for(lock, std::min(left, ThreadRuntime::recheck_interval));
}

class ThreadEvent final : public Event {
 public:
  explicit ThreadEvent(Clock& clock) : clock_(clock) {}

  void set() override {
    const std::lock_guard lock(mutex_);
    set_ = true;
    condition_.notify_all();  // under the lock: a waiter may destroy the event as soon as it wakes
  }

  void reset() override {
    const std::lock_guard lock(mutex_);
    set_ = false;
  }

  bool wait_until(std::optional<MonotonicTime> deadline) override {
    std::unique_lock lock(mutex_);
    while (!set_) {
      if (deadline && clock_.now() >= *deadline) return false;
      wait_a_while(condition_, lock, clock_, deadline);
    }
    return true;
  }

 private:
  Clock& clock_;
  std::mutex mutex_;
  std::condition_variable condition_;
  bool set_ = false;
};

thread_local const ThreadRuntime* runtime_of_this_thread = nullptr;

}  // namespace

ThreadRuntime::ThreadRuntime(std::size_t workers, Clock& clock) : clock_(clock) {
  try {
    start(std::max<std::size_t>(workers, 1));
  } catch (...) {
    stop();
    throw;
  }
}

ThreadRuntime::~ThreadRuntime() { close(); }

void ThreadRuntime::start(std::size_t workers) {
  const SignalsBlocked blocked;
  threads_.reserve(workers + 1);
  threads_.emplace_back([this] { run_timers(); });
  ::pthread_setname_np(threads_.back().native_handle(), "atoll-timers");
  for (std::size_t i = 0; i < workers; ++i) {
    threads_.emplace_back([this] { run_worker(); });
    ::pthread_setname_np(threads_.back().native_handle(), "atoll-worker");
  }
}

void ThreadRuntime::close() {
  assert(runtime_of_this_thread != this && "a task cannot wait for itself");
  stop();
}

void ThreadRuntime::stop() {
  const std::lock_guard stopping(stop_mutex_);
  std::map<TimerId, Timer> dropped;  // destroyed outside the lock: a task's captures may call back
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    by_due_.clear();
    dropped.swap(timers_);
    work_changed_.notify_all();
    timers_changed_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void ThreadRuntime::post(Task task) {
  const std::lock_guard lock(mutex_);
  if (closing_) return;
  tasks_.push_back(std::move(task));
  work_changed_.notify_one();
}

Runtime::TimerId ThreadRuntime::after(Duration delay, Task task) {
  const MonotonicTime due = clock_.now() + std::max(delay, Duration::zero());
  const std::lock_guard lock(mutex_);
  const TimerId id = ++last_timer_;
  if (closing_) return id;
  timers_.emplace(id, Timer{due, std::move(task)});
  const auto place = by_due_.emplace(due, id).first;
  if (place == by_due_.begin()) timers_changed_.notify_one();
  return id;
}

bool ThreadRuntime::cancel(TimerId timer) {
  Task dropped;  // destroyed after the lock is given back: its captures may call us
  const std::lock_guard lock(mutex_);
  const auto found = timers_.find(timer);
  if (found == timers_.end()) return false;
  dropped = std::move(found->second.task);
  by_due_.erase({found->second.due, timer});
  timers_.erase(found);
  return true;
}

std::unique_ptr<Event> ThreadRuntime::make_event() { return std::make_unique<ThreadEvent>(clock_); }

void ThreadRuntime::run_worker() {
  runtime_of_this_thread = this;
  std::unique_lock lock(mutex_);
  for (;;) {
    if (!tasks_.empty()) {
      Task task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      task = nullptr;  // its captures go before the lock is taken again
      lock.lock();
    } else if (closing_) {
      return;
    } else {
      work_changed_.wait(lock);
    }
  }
}

void ThreadRuntime::run_timers() {
  std::unique_lock lock(mutex_);
  while (!closing_) {
    if (by_due_.empty()) {
      timers_changed_.wait(lock);
      continue;
    }
    const auto [due, id] = *by_due_.begin();
    if (clock_.now() < due) {
      wait_a_while(timers_changed_, lock, clock_, due);
      continue;
    }
    const auto found = timers_.find(id);
    tasks_.push_back(std::move(found->second.task));
    timers_.erase(found);
    by_due_.erase(by_due_.begin());
    work_changed_.notify_one();
  }
}

}  // namespace atl
