// What nodes are asked before a drive is there: calls of the engine that wait for its answers. Private to cache/recovery.
// Any thread but the engine's; answers that come after nobody waits for them any more go nowhere.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "cache/drive/core.h"
#include "engine/engine.h"

namespace atl {

/// One answer of the engine, for which somebody waits.
template <typename T>
class Answer {
 public:
  std::function<void(Result<T>)> sink() {
    return [shared = shared_](Result<T> result) {
      {
        std::lock_guard lock(shared->mutex);
        shared->result = std::move(result);
      }
      shared->landed.wake();
    };
  }
  Result<T> wait(DriveSeams seams, MonotonicTime deadline) {
    const bool landed = shared_->landed.wait(seams.runtime, deadline, {}, [&] {
      std::lock_guard lock(shared_->mutex);
      return shared_->result.has_value();
    });
    if (!landed) return fail(Code::timed_out, "it did not answer in time");
    std::lock_guard lock(shared_->mutex);
    return std::move(*shared_->result);
  }

 private:
  struct Shared {
    std::mutex mutex;
    std::optional<Result<T>> result;
    Waiters landed;
  };
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
};

/// Everything under a prefix; what a node tells of beyond a bound is left.
Result<std::vector<std::string>> list_all(DriveSeams seams, Engine& engine, NodeId node, const std::string& prefix, MonotonicTime deadline);

/// As fetch_object.
Result<Bytes> fetch_now(DriveSeams seams, Engine& engine, NodeId node, const std::string& name, MonotonicTime deadline,
                        std::function<bool(ByteView)> valid);

}  // namespace atl
