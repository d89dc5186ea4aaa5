// Those who wait for something to change: staging drained, shards placed, answers of nodes landed. Thread-safe; outlives
// whoever waits or wakes.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>

#include "engine/base/runtime.h"

namespace atl {

class Waiters {
 public:
  /// Waits until `ready` (called without locks held by this) or the deadline; woken by wake(). False at the deadline
  /// or when `stop` was requested.
  bool wait(Runtime& runtime, std::optional<MonotonicTime> deadline, const std::stop_token& stop, const std::function<bool()>& ready);
  void wake();

 private:
  std::mutex mutex_;
  std::set<Event*> events_;
};

}  // namespace atl
