// Threads for calls that block on a disk, so that nothing else waits with them. Each disk has its own pool: a disk that
// hangs takes nobody with it.
//
// Threads are started when needed, up to a bound; jobs beyond wait in the order of their posting. Thread-safe.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "engine/base/clock.h"

namespace atl {

class BlockingPool {
 public:
  using Job = std::function<void()>;

  explicit BlockingPool(std::size_t threads_max);
  /// Closes without patience: what hangs is left behind.
  ~BlockingPool();

  /// False, and the job is dropped, after close().
  bool post(Job job);

  /// Drops the jobs that have not begun, in the calling thread, and waits for the others at most `patience`. False if
  /// some still run: their threads go on by themselves, so that what they use has to live as long as the process.
  bool close(Duration patience);

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the threads, which may have to outlive the pool
};

}  // namespace atl
