#include "engine/loop/asio_loop.h"

#include <pthread.h>

#include <boost/asio/post.hpp>
#include <future>

#include "engine/base/signals_blocked.h"

namespace atl {

AsioLoop::AsioLoop(Clock& clock) : clock_(clock), work_(io_.get_executor()) {
  const SignalsBlocked blocked;
  thread_ = std::thread([this] { io_.run(); });
  ::pthread_setname_np(thread_.native_handle(), "atoll-engine");
}

AsioLoop::~AsioLoop() { stop(); }

Loop::TimerId AsioLoop::after(Duration delay, std::function<void()> task) {
  const TimerId id = ++last_timer_;
  auto& timer = timers_.emplace(id, asio::steady_timer(io_, delay)).first->second;
  timer.async_wait([this, id, task = std::move(task)](boost::system::error_code error) {
    if (error) return;
    // Expired and cancelled in the same turn: the cancellation has taken the timer away.
    if (timers_.erase(id) != 0) task();
  });
  return id;
}

void AsioLoop::cancel(TimerId timer) { timers_.erase(timer); }

void AsioLoop::run_and_wait(std::function<void()> task) {
  std::promise<void> ran;
  asio::post(io_, [&] {
    task();
    ran.set_value();
  });
  ran.get_future().wait();
}

void AsioLoop::stop() {
  io_.stop();
  if (thread_.joinable()) thread_.join();
}

void AsioLoop::drain() {
  timers_.clear();
  io_.restart();
  while (io_.poll() > 0) timers_.clear();
  io_.stop();
}

}  // namespace atl
