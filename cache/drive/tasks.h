// Background work of one drive: refuses new tasks once closed, and close() waits for those that run.
// Thread-safe. The runtime outlives it.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>

#include "engine/base/runtime.h"

namespace atl {

class Tasks {
 public:
  explicit Tasks(Runtime& runtime);
  ~Tasks();

  void post(Runtime::Task task);
  void after(Duration delay, Runtime::Task task);
  /// `task` for somebody who may call it at any time, also after these tasks are gone: then nothing happens.
  Runtime::Task guard(Runtime::Task task);
  /// Waits until nothing runs; tasks that wait for a timer are dropped. Idempotent.
  void close();
  bool closed() const;
  /// Asks what runs to end soon: its token is stopped. close() does so as well.
  void request_stop() { stop_.request_stop(); }
  std::stop_token stop_token() const { return stop_.get_token(); }

 private:
  struct Gate;
  std::stop_source stop_;
  Runtime& runtime_;
  std::shared_ptr<Gate> gate_;
};

}  // namespace atl
