#include "tests/support/virtual_loop.h"

#include <boost/asio/post.hpp>

namespace atl {

Loop::TimerId VirtualLoop::after(Duration delay, std::function<void()> task) {
  const TimerId id = ++last_timer_;
  const MonotonicTime due = now_ + std::max(delay, Duration::zero());
  timers_.emplace(std::pair(due, id), std::move(task));
  due_.emplace(id, due);
  return id;
}

void VirtualLoop::cancel(TimerId timer) {
  const auto found = due_.find(timer);
  if (found == due_.end()) return;
  timers_.erase({found->second, timer});
  due_.erase(found);
}

void VirtualLoop::run_and_wait(std::function<void()> task) {
  bool ran = false;
  asio::post(io_, [&] {
    task();
    ran = true;
  });
  while (!ran) run_ready();
}

void VirtualLoop::run_ready() {
  io_.restart();
  io_.poll();
}

bool VirtualLoop::run_until(const std::function<bool()>& condition, Duration bound) {
  const MonotonicTime limit = now_ + bound;
  for (;;) {
    run_ready();
    if (condition()) return true;
    if (!advance(limit)) return false;
  }
}

void VirtualLoop::run_for(Duration time) {
  const MonotonicTime limit = now_ + time;
  do {
    run_ready();
  } while (advance(limit));
  now_ = limit;
}

bool VirtualLoop::advance(MonotonicTime limit) {
  if (timers_.empty() || timers_.begin()->first.first > limit) return false;
  auto timer = timers_.extract(timers_.begin());
  due_.erase(timer.key().second);
  now_ = timer.key().first;
  timer.mapped()();
  return true;
}

}  // namespace atl
