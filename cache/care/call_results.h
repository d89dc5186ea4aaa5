// The results of calls to the engine that were made together. Shared with completions, which may outlive whoever waits.
// Thread-safe.
#pragma once

#include <mutex>
#include <optional>
#include <vector>

#include "engine/base/result.h"
#include "engine/base/waiters.h"

namespace atl {

template <typename T>
struct CallResults {
  std::mutex mutex;
  std::vector<std::optional<Result<T>>> results;
  std::size_t missing = 0;
  Waiters landed;

  explicit CallResults(std::size_t count) : results(count), missing(count) {}
  /// The first counts.
  void give(std::size_t i, Result<T> result) {
    {
      std::lock_guard lock(mutex);
      if (results[i]) return;
      results[i] = std::move(result);
      --missing;
    }
    landed.wake();
  }
  bool all() {
    std::lock_guard lock(mutex);
    return missing == 0;
  }
};

}  // namespace atl
