// An old computer takes its drive back from whoever took it over: with everything that the nodes know, and with what it
// had not told them as files in a folder of its own. Nothing is overwritten, here or there.
//
// Blocking; one caller, which holds the lock of the old folder. The engine was made for the nodes given.
#pragma once

#include "cache/recovery/bring_over.h"
#include "cache/recovery/recovery.h"

namespace atl {

struct TakenOver {
  /// The nodes held nothing that this computer did not know: its folder stands as it is. Else the fresh one takes its place.
  bool in_place = false;
  EpochClaim claim;
  Brought brought;
  /// False: where this computer's history parted from the nodes' is not known any more, so that all that looks different
  /// was brought; more than was needed, perhaps.
  bool parting_known = true;
};

/// Where the nodes' newest state lies in the history of the folder `state`: an epoch is claimed for it, and it owns the drive
/// again, or still; forks that it knew are resolved by that. Absent, and nothing is changed, where it does not. Errors as below.
Result<std::optional<TakenOver>> take_over_in_place(DriveSeams seams, const std::string& state, const Keyring& keyring, Engine& engine,
                                                    const std::vector<NodeSpec>& nodes, const HeadSurvey& survey, Duration patience);

/// `old` is the folder of the drive as it was here, `fresh` an empty one on the same disk. `survey` is of now, and has a head.
/// Unless it was in place, `fresh` holds everything but the keys afterwards, durably, and its owner swaps the folders; until
/// then the old one stays as it was. `host` names the folder with what was brought. A failure leaves the old folder fenced
/// and whole. Code::fenced if somebody else takes over at this moment; no_space; as rebuild_state.
Result<TakenOver> take_over(DriveSeams seams, const std::string& old, const std::string& fresh, const Keyring& keyring, Engine& engine,
                            const std::vector<NodeSpec>& nodes, const HeadSurvey& survey, const std::string& host, Duration patience,
                            const std::function<void(const Brought&)>& progress);

}  // namespace atl
