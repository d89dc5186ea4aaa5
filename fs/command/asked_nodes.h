// All nodes of a drive that is not running here, and what they say of its state: where a recovery or a take-over begins.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "cache/keys/node_credentials.h"
#include "cache/recovery/recovery.h"

namespace atl {

/// How long each node is waited for.
inline constexpr Duration node_patience = std::chrono::seconds(15);

struct AskedNodes {
  std::vector<NodeSpec> nodes;
  std::unique_ptr<Engine> engine;  // for them; closed by whoever is done with it
  HeadSurvey survey;               // may have no head
};

/// Asks `known`; and where a head there names further nodes, these as well, since one of them may hold a newer one. `adjust`
/// says where some of them are now. Blocks.
Result<AskedNodes> ask_nodes(DriveSeams seams, const std::vector<NodeSpec>& known, const std::shared_ptr<const NodeCredentials>& credentials,
                             const Keyring& keyring, const std::function<void(std::vector<NodeSpec>&)>& adjust = {});

}  // namespace atl
