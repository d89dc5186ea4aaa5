// Where the engine's own code runs, and how it waits: one thread, so that transfers need no locks. The simulator gives
// one of its own, with virtual time; nothing in transfers, health or nodes asks another clock or timer.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>

#include "engine/base/clock.h"

namespace atl {

namespace asio = boost::asio;

class Loop {
 public:
  using TimerId = std::uint64_t;  // 0 is never given out

  virtual ~Loop() = default;
  /// Runs what is posted on the loop's thread, in order. Any thread.
  virtual asio::any_io_executor executor() = 0;
  /// Any thread.
  virtual MonotonicTime now() const = 0;
  /// Runs `task` on the loop's thread after `delay`. On the loop's thread only.
  virtual TimerId after(Duration delay, std::function<void()> task) = 0;
  /// The timer does not fire any more; nothing happens if it has fired, or is 0. On the loop's thread only.
  virtual void cancel(TimerId timer) = 0;
  /// Runs `task` on the loop's thread behind what was posted before, and returns when it has run. Never from that thread.
  virtual void run_and_wait(std::function<void()> task) = 0;
};

/// Waits in a coroutine that runs on the loop. Ends early when the coroutine is cancelled, which then throws as Asio's
/// coroutines do. `loop` outlives it.
asio::awaitable<void> pause_for(Loop& loop, Duration delay);

}  // namespace atl
