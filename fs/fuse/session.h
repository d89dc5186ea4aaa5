// A drive mounted through FUSE, from mount to detach, and the workers that serve it.
//
// Errors: mount gives Code::access_denied (no /dev/fuse, no fusermount3), invalid, failed; detach gives Code::busy.
// Threads: mount, start and stop by the owner; the rest from any thread. The drive and clock outlive the session.
// Signals are the program's business; the session installs a handler for one (SIGUSR2), with which it wakes its workers.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cache/drive/drive.h"
#include "engine/base/clock.h"
#include "engine/base/result.h"

namespace atl {

struct SessionOptions {
  std::string mount_point;                 // absolute, resolved
  std::vector<std::string> fuse_options;   // each as behind -o: "allow_other", "fsname=atoll:photos"
  bool update_atime = true;
  std::size_t workers_kept = 8;            // stay when idle
  std::size_t waiting_max = 48;            // reads and writes that wait for nodes or space at once
};

class Session {
 public:
  static Result<std::unique_ptr<Session>> mount(Drive& drive, Clock& clock, SessionOptions options);

  /// Begins to serve. `ended` is called once, from a worker, when the mount is gone (unmounted from outside).
  virtual void start(std::function<void()> ended) = 0;

  /// Makes the kernel hand over what it holds dirty, while workers serve it. Code::timed_out after `bound`.
  virtual Result<> write_back(std::chrono::milliseconds bound) = 0;
  /// Makes the kernel drop the pages it caches, after writing back the dirty ones.
  virtual Result<> drop_pages(std::chrono::milliseconds bound) = 0;

  /// Takes the mount away. Code::busy if files are open below it, unless `lazy`: then it goes with the last of them, and
  /// they see errors once stop() was called.
  virtual Result<> detach(bool lazy) = 0;
  /// Ends the workers. Requests that come afterwards wait until the session is destroyed.
  virtual void stop() = 0;

  virtual const std::string& mount_point() const = 0;

  /// Stops, and detaches lazily what is still mounted.
  virtual ~Session() = default;
};

}  // namespace atl
