// Keeps workers free: of the requests that may wait for nodes or for space, only so many run at once; the others wait
// in a queue that holds no worker, so that metadata, df and ls go on whatever the network does. The kernel bounds how
// many there can be. Thread-safe.
#pragma once

#include <deque>
#include <functional>
#include <mutex>

namespace atl {

class Gate {
 public:
  explicit Gate(std::size_t running_max) : running_max_(running_max) {}

  /// True: run it now, and call leave() afterwards. False: full; hand it to wait().
  bool enter() {
    const std::lock_guard lock(mutex_);
    if (running_ >= running_max_) return false;
    ++running_;
    return true;
  }

  /// Runs `task` once others have left; on their thread, or at once on this one if they have meanwhile.
  void wait(std::function<void()> task) {
    {
      const std::lock_guard lock(mutex_);
      if (running_ >= running_max_) {
        waiting_.push_back(std::move(task));
        return;
      }
      ++running_;
    }
    task();
    leave();
  }

  /// The caller's own work is done; runs what waits, one after the other.
  void leave() {
    for (;;) {
      std::function<void()> task;
      {
        const std::lock_guard lock(mutex_);
        if (waiting_.empty()) {
          --running_;
          return;
        }
        task = std::move(waiting_.front());
        waiting_.pop_front();
      }
      task();
    }
  }

 private:
  std::mutex mutex_;
  const std::size_t running_max_;
  std::size_t running_ = 0;                    // guarded by mutex_
  std::deque<std::function<void()>> waiting_;  // guarded by mutex_
};

}  // namespace atl
