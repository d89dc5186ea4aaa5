// What the control socket of a running drive understands:
//
//   status                           {status as in --json}
//   sync {level, timeout_s}          progress {done, total}; {}
//   drop_cache                       {bytes}
//   gc {wait}                        {}
//   inspect {inode, verify}          {report}
//   check {...}                      check_report.h
//   drain {node, leaving, wait}      progress {done, total}; {url}. node: its address or the beginning of its id
//   node_add, node_label, redundancy_set, devices, revoke   node_changes.h
//   flow                             flow.h
//   remove {node}                    progress {done, total}; {url}
//   drill {all}                      progress {files, bytes}; {report of drill.h}
//   stop {lazy, sync}                {staged_bytes}; the process ends afterwards. Code::busy while files are open
#pragma once

#include <functional>

#include "cache/drive/drive.h"
#include "engine/flow.h"
#include "engine/net/credentials.h"
#include "engine/node_checks.h"
#include "engine/statistics.h"
#include "fs/config/places.h"
#include "fs/control/control_server.h"
#include "fs/fuse/session.h"

namespace atl {

/// What requests work on; outlives the server.
struct Running {
  Drive& drive;
  Session& session;
  Clock& clock;
  const Places& places;
  const Keyring& keyring;
  std::function<void()> stop;           // asks the daemon to end
  std::function<bool()> is_stopping;
  const NodeCredentials& credentials;
  Random& random;
  FlowControl& flow;
  const StatisticsKeeper* statistics;  // null if the engine keeps none
  NodeChecks* checks;                  // null if the engine always knows
};

ControlHandler make_control_handler(Running running);

/// A file's report as JSON.
nlohmann::json report_json(const FileReport& report);

}  // namespace atl
