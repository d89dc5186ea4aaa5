// Where work runs and how it waits, passed in. cache/ starts no thread and owns no condition of its own: under the
// simulator the same code runs on one thread under virtual time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "engine/base/clock.h"

namespace atl {

/// A latch that one side sets and others wait for. Thread-safe. Made by a Runtime, which outlives it.
class Event {
 public:
  virtual ~Event() = default;
  /// Wakes all waiters, now and later, until reset. May be called from any thread, also a signal-free callback.
  virtual void set() = 0;
  virtual void reset() = 0;
  /// Blocks until set (true) or until the deadline has passed (false). No lock may be held that the setter needs.
  virtual bool wait_until(std::optional<MonotonicTime> deadline) = 0;
};

/// Thread-safe. close() refuses new work, drains running tasks and drops timers that have not fired.
class Runtime {
 public:
  using Task = std::function<void()>;
  using TimerId = std::uint64_t;

  virtual ~Runtime() = default;
  virtual Clock& clock() = 0;
  /// Runs `task` soon on a worker; tasks may block on the local disk, and on an Event for a bounded time.
  virtual void post(Task task) = 0;
  /// Runs `task` on a worker once `delay` has passed.
  virtual TimerId after(Duration delay, Task task) = 0;
  /// True if the timer will not fire; false if it has fired or is firing.
  virtual bool cancel(TimerId timer) = 0;
  virtual std::unique_ptr<Event> make_event() = 0;
};

}  // namespace atl
