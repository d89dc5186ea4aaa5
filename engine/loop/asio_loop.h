// The loop of a real engine: one thread that runs an io_context, and timers that follow the system's monotonic clock.
// Errors: the constructor throws if the system gives no thread. stop() and drain() belong to the owner.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <thread>

#include "engine/loop/loop.h"

namespace atl {

class AsioLoop final : public Loop {
 public:
  /// `clock` outlives it.
  explicit AsioLoop(Clock& clock);
  ~AsioLoop() override;

  asio::any_io_executor executor() override { return io_.get_executor(); }
  MonotonicTime now() const override { return clock_.now(); }
  TimerId after(Duration delay, std::function<void()> task) override;
  void cancel(TimerId timer) override;
  void run_and_wait(std::function<void()> task) override;

  /// Ends the thread after what it runs now; timers are dropped. What is posted later waits for drain().
  void stop();
  /// After stop(): runs what is posted, in the calling thread, until nothing is left that could run.
  void drain();

 private:
  Clock& clock_;
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::map<TimerId, asio::steady_timer> timers_;  // loop's thread only
  TimerId last_timer_ = 0;
  std::thread thread_;
};

}  // namespace atl
