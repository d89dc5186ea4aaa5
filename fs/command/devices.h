// The computers that speak for a drive at its node daemons, as requests of the control socket: `devices` and `revoke {device}`.
// On a running drive, or on one that a command has opened. Blocks while nodes are asked, all at once. Thread-safe.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "cache/keys/node_credentials.h"
#include "engine/engine.h"

namespace atl {

/// {own, devices: [{id, nodes, revoked_at}], asked, silent}.
Result<nlohmann::json> list_devices(const std::vector<NodeSpec>& nodes, const NodeCredentials& credentials, Clock& clock);
/// {id, nodes, silent}. Code::not_found, invalid for what names no device or several; not_permitted for this one's own;
/// unavailable if no node could be told.
Result<nlohmann::json> revoke(const std::vector<NodeSpec>& nodes, const NodeCredentials& credentials, Clock& clock,
                              const nlohmann::json& request);

}  // namespace atl
