// A thread beside the workers that serve kernel requests, for what must not hold a worker: it asks the kernel to write
// back pages (which comes back as requests that workers must be free to serve), and it watches callers that a signal
// has interrupted.
//
// A caller may be interrupted by any signal, but a read from a disk ends early only for a fatal one. The kernel does not
// say which it was, and tells only once; so the attendant looks at the caller until the request is done.
// Thread-safe. close() runs what was posted, then ends the thread.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

namespace atl {

/// One request that may wait long, and who waits for it.
struct Interruption {
  std::stop_source stop;
  pid_t caller = 0;
  std::atomic<bool> done{false};
};

class Attendant {
 public:
  Attendant();
  ~Attendant() { close(); }
  void close();

  /// Runs `task` on the attendant's thread, in order.
  void post(std::function<void()> task);
  /// The kernel says that the caller was interrupted: stops the request if, or once, the caller is being killed.
  void interrupted(std::shared_ptr<Interruption> interruption);

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;                 // guarded by mutex_
  std::vector<std::shared_ptr<Interruption>> interrupted_;  // guarded by mutex_
  bool closing_ = false;                                    // guarded by mutex_
  std::thread thread_;
};

/// Whether a thread is being killed by a signal (or is gone). `tid` 0, which a caller of another namespace has: true.
bool is_being_killed(pid_t tid);

}  // namespace atl
