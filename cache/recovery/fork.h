// States of the drive that nodes hold beside its own: forks. What there is of them, and how one comes into the drive when
// the computer that told it is lost.
//
// Blocking calls, one caller. The engine was made for the nodes given and outlives the calls. Nothing is written to nodes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cache/recovery/bring_over.h"
#include "cache/recovery/recovery.h"

namespace atl {

struct KnownFork {
  Head head;                            // the newest of its epoch
  std::optional<HistoryPoint> parting;  // what of its epoch somebody went on from; absent: nobody did, or no node says it
  std::vector<NodeSpec> nodes;          // that hold that head
};

/// Heads that no claim on the nodes goes on from, other than those of the newest epoch, the oldest first: forks that stand,
/// and those that were resolved and have not left the nodes yet.
Result<std::vector<KnownFork>> survey_forks(DriveSeams seams, Engine& engine, const std::vector<NodeSpec>& nodes, const Keyring& keyring,
                                            Duration patience);

struct BroughtFork {
  Brought brought;
  bool parting_known = true;  // false: all that looks different was brought
};

/// Brings what the fork has beyond the parting into a folder of `drive`, durably; the fork itself stands as before, until an
/// epoch is claimed from `drive` (take_over_in_place). `scratch` is an empty folder, whose owner removes it with all in it.
/// As rebuild_state and bring_over.
Result<BroughtFork> bring_fork(DriveSeams seams, Drive& drive, const KnownFork& fork, const std::string& scratch, const Keyring& keyring,
                               Engine& engine, const std::vector<NodeSpec>& nodes, const std::string& folder, Duration patience);

}  // namespace atl
