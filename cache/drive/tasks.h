// Background work of one drive: refuses new tasks once closed, and close() waits for those that run.
// Thread-safe. The runtime outlives it.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <set>

#include "engine/base/runtime.h"

namespace atl {

class Tasks {
 public:
  explicit Tasks(Runtime& runtime);
  ~Tasks();

  void post(Runtime::Task task);
  void after(Duration delay, Runtime::Task task);
  /// Waits until nothing runs; tasks that wait for a timer are dropped. Idempotent.
  void close();
  bool closed() const;

 private:
  struct Gate;
  Runtime& runtime_;
  std::shared_ptr<Gate> gate_;
};

}  // namespace atl
