// How a process that serves is told to end: SIGTERM, SIGINT or SIGHUP, or by one of its own threads.
#pragma once

#include <string>

#include "fs/control/unix_socket.h"

namespace atl {

class StopSignals {
 public:
  /// Blocks the signals in this thread and all that it makes from here on. Main thread, once; SIGPIPE is ignored as well.
  StopSignals();
  /// From any thread.
  void set();
  /// Returns the reason: "signal NAME", or "asked" after set().
  std::string wait();

 private:
  Descriptor event_;
  Descriptor signals_;
};

}  // namespace atl
