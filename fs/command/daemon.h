// The process behind a mount: brings a drive up, serves it, and puts it down again.
//
// Up: keys, lock, drive, engine, mount, control socket, and only then the mount is served. Down, for SIGTERM, SIGINT,
// `atoll umount` or an unmount from outside: what the kernel holds is written back while it is still served, the drive is
// closed within a bound that never waits for nodes, then the mount is taken away. The lock goes last, with the process.
#pragma once

#include <functional>
#include <string>

#include "fs/command/commands.h"
#include "fs/config/config.h"
#include "fs/config/places.h"
#include "fs/mount/mount_options.h"

namespace atl {

struct DaemonPlan {
  Places places;
  Config config;
  MountOptions options;
  std::string mount_point;      // resolved
  std::string passphrase_file;
  bool foreground = false;      // log to standard error
};

/// Returns when the mount is gone. `ready` is called once it can be used.
Outcome<> run_daemon(const DaemonPlan& plan, const std::function<void()>& ready);

}  // namespace atl
