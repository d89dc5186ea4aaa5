// Keeps the journal short: writes a checkpoint when enough journal has gathered since the last one, and drops what it
// covers. Reads the index through connections of its own, so that nobody waits. Thread-safe; one run at a time.
#pragma once

#include <atomic>
#include <mutex>

#include "cache/drive/committer.h"
#include "cache/drive/core.h"

namespace atl {

class Checkpointer {
 public:
  Checkpointer(DriveCore& core, Committer& committer) : core_(core), committer_(committer) {}

  /// Whether a checkpoint is due: its cost is then small beside the journal that it replaces.
  bool due();
  Result<> run();

 private:
  DriveCore& core_;
  Committer& committer_;
  std::mutex mutex_;
  std::atomic<std::uint64_t> last_bytes_{0};  // of the last checkpoint
};

}  // namespace atl
