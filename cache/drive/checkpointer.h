// Keeps the journal short: writes a checkpoint when enough journal has gathered since the last one, and drops what it
// covers. Reads the index through connections of its own, so that nobody waits. Thread-safe; one run at a time.
#pragma once

#include <atomic>

#include "cache/drive/committer.h"
#include "cache/drive/core.h"

namespace atl {

class Checkpointer {
 public:
  Checkpointer(DriveCore& core, Committer& committer) : core_(core), committer_(committer) {}

  /// Whether a checkpoint is due: its cost is then small beside the journal that it replaces.
  bool due();
  /// Does nothing if one is being written already.
  Result<> run();

 private:
  DriveCore& core_;
  Committer& committer_;
  std::atomic<bool> running_{false};
  std::atomic<std::uint64_t> last_bytes_{0};  // of the last checkpoint
};

}  // namespace atl
