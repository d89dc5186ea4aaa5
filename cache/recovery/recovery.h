// Bringing a drive back from its nodes: which head counts, and a state folder made from it.
//
// Blocking calls, one caller. The engine was made for the nodes given and outlives the calls; nothing is written to
// nodes but by claim_epoch(). Code::too_few_nodes where nodes are missing, with what exactly; key, newer_format, corrupt.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cache/drive/drive.h"
#include "cache/heads/claim.h"
#include "engine/engine.h"

namespace atl {

/// What one node says of the drive.
struct HeadAnswer {
  enum class Standing {
    newest,  // it holds the head that counts
    stale,   // an older one
    none,    // it answered, and holds none of this drive
    wrong,   // what it holds is not what was stored
    silent,  // it did not answer
  };
  NodeSpec node;
  Standing standing = Standing::silent;
  MetaName name;  // of the newest valid head that it holds
  std::string why;
};
std::string_view to_string(HeadAnswer::Standing standing);

struct HeadSurvey {
  std::optional<Head> head;  // the newest valid one
  std::vector<HeadAnswer> answers;
  std::uint32_t epoch_max = 0;  // of all valid heads and claims that were seen
  std::size_t count(HeadAnswer::Standing standing) const;
};

/// Asks all nodes for their newest heads. Waits for each at most `patience`.
Result<HeadSurvey> survey_heads(DriveSeams seams, Engine& engine, const std::vector<NodeSpec>& nodes, const Keyring& keyring, Duration patience);

/// The claims of epochs above `above` that any node holds; of two for one epoch, the one that more nodes hold.
Result<std::map<std::uint32_t, Claim>> survey_claims(DriveSeams seams, Engine& engine, const std::vector<NodeSpec>& nodes, const Keyring& keyring,
                                                     std::uint32_t above, Duration patience);

struct RecoveryProgress {
  std::uint64_t objects_total = 0;
  std::uint64_t objects_done = 0;
};

/// Fills `directory`, which exists and holds no journal, with checkpoint, journal and heads, so that Drive::open finds
/// the state that the head stands for. Each object is taken from any node that has it whole. `nodes` that the head's
/// own list has with other addresses are logged as changed.
Result<> rebuild_state(DriveSeams seams, const std::string& directory, Engine& engine, const Head& head, const Keyring& keyring,
                       const std::vector<NodeSpec>& nodes, Duration patience, const std::function<void(const RecoveryProgress&)>& progress);

struct EpochClaim {
  std::uint32_t epoch = 0;
  std::size_t taken = 0;    // nodes that took the claim
  std::size_t refused = 0;  // nodes where somebody else's stands
  std::size_t nodes = 0;
  bool certain() const { return taken * 2 > nodes; }
};

/// Claims `epoch` for the state folder, which goes on from the head `from`, on every node that can be reached.
/// Code::fenced if somebody else was first on as many nodes.
Result<EpochClaim> claim_epoch(DriveSeams seams, const std::string& directory, Engine& engine, const std::vector<NodeSpec>& nodes,
                               const Keyring& keyring, std::uint32_t epoch, const std::optional<HistoryPoint>& from, Duration patience);

}  // namespace atl
