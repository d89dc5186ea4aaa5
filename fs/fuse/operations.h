// The kernel's requests, turned into operations of the drive.
//
// Opens cost no message: the drive keeps nothing per handle, an inode lives while the kernel counts it. Files are made
// by mknod for the same reason. Locks are the kernel's own, which is right for a single mount.
// Handlers run on any number of workers at once; each answers its request exactly once, also after an exception.
#pragma once

#include <atomic>

#include "cache/drive/drive.h"
#include "engine/base/clock.h"
#include "fs/fuse/attendant.h"
#include "fs/fuse/fuse_api.h"
#include "fs/fuse/gate.h"
#include "fs/fuse/inode_set.h"

namespace atl {

/// The largest read or write that the kernel sends.
inline constexpr std::size_t request_bytes_max = 1024 * 1024;

/// What the handlers work on; libfuse's user data. Outlives the FUSE session.
struct Served {
  Served(Drive& drive_, Clock& clock_, bool update_atime_, std::size_t waiting_max)
      : drive(drive_), clock(clock_), update_atime(update_atime_), gate(waiting_max) {}

  Drive& drive;
  Clock& clock;
  const bool update_atime;
  fuse_session* session = nullptr;
  Gate gate;
  InodeSet pages;
  InodeSet blocks_outdated;  // written since the kernel was last told their attributes
  std::atomic<std::uint64_t> writes_seen{0};     // received so far
  std::atomic<std::uint64_t> writes_running{0};  // received and not answered
  std::atomic<bool> answered_init{false};
  Attendant attendant;  // last: its thread uses the others
};

/// The table for fuse_session_new.
const fuse_lowlevel_ops& drive_operations();

}  // namespace atl
