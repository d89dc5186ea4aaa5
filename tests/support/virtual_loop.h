// The engine's loop under virtual time: everything runs in the thread that calls run_*(), and time moves only when
// nothing else is left to do. For tests and the simulator. One thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <map>

#include "engine/loop/loop.h"

namespace atl {

class VirtualLoop final : public Loop {
 public:
  asio::any_io_executor executor() override { return io_.get_executor(); }
  MonotonicTime now() const override { return now_; }
  TimerId after(Duration delay, std::function<void()> task) override;
  void cancel(TimerId timer) override;
  void run_and_wait(std::function<void()> task) override;

  /// Runs what is posted, without letting time pass.
  void run_ready();
  /// Runs until the condition holds, moving time as needed. False if nothing is left that could run, or `bound` has
  /// passed.
  bool run_until(const std::function<bool()>& condition, Duration bound = std::chrono::hours(24));
  void run_for(Duration time);

 private:
  /// Goes on to the next timer due by `limit`; false if there is none.
  bool advance(MonotonicTime limit);

  asio::io_context io_{1};
  MonotonicTime now_{std::chrono::hours(1)};
  std::map<std::pair<MonotonicTime, TimerId>, std::function<void()>> timers_;
  std::map<TimerId, MonotonicTime> due_;
  TimerId last_timer_ = 0;
};

}  // namespace atl
