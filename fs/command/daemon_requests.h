// What the control socket of a running drive understands:
//
//   status                           {status as in --json}
//   sync {level, timeout_s}          progress {done, total}; {}
//   drop_cache                       {bytes}
//   gc {wait}                        {}
//   inspect {inode, verify}          {report}
//   stop {lazy, sync}                {staged_bytes}; the process ends afterwards. Code::busy while files are open
#pragma once

#include <functional>

#include "cache/drive/drive.h"
#include "fs/control/control_server.h"
#include "fs/fuse/session.h"

namespace atl {

/// What requests work on; outlives the server.
struct Running {
  Drive& drive;
  Session& session;
  Clock& clock;
  std::string name;
  std::function<void()> stop;           // asks the daemon to end
  std::function<bool()> is_stopping;
};

ControlHandler make_control_handler(Running running);

/// A file's report as JSON.
nlohmann::json report_json(const FileReport& report);

}  // namespace atl
