// The threads that receive and answer kernel requests: as many as are busy and one more, up to a bound; a few stay.
//
// libfuse has such a loop, but it can be ended only by another request or by pthread_cancel, and C++ frames and
// cancellation don't go together. Here a worker that waits in read(2) is woken with a signal.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <list>
#include <mutex>
#include <thread>

#include "fs/fuse/roster.h"

struct fuse_session;

namespace atl {

class Workers {
 public:
  /// `ended` is called once, when the kernel says that the mount is gone.
  Workers(fuse_session* session, std::size_t kept, std::size_t max, std::function<void()> ended);
  ~Workers() { stop(); }

  void start();
  /// Returns when no worker is left. A worker in the middle of a request finishes it first.
  void stop();

 private:
  void add();  // with mutex_ held
  void run();

  fuse_session* const session_;
  std::function<void()> ended_;

  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable gone_;
  Roster roster_;  // guarded by mutex_
  bool told_ = false;          // guarded by mutex_
  std::list<std::thread::native_handle_type> threads_;  // guarded by mutex_
};

}  // namespace atl
