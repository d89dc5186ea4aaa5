// Changes to who stores for a drive and how, as requests of the control socket: `node_add {node, labels}`,
// `node_label {node, labels, remove}` and `redundancy_set {k, n, protect_min}`. On a running drive, or on one that a command has opened. Thread-safe.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "cache/drive/drive.h"
#include "cache/keys/node_credentials.h"

namespace atl {

/// `devices` and `revoke` as devices.h says. The others answer {id, url, labels, known}, of node_add also {nodes, k, n}: how many there are now and the drive's redundancy; and
/// {} of redundancy_set. `node` of node_add is dir:FOLDER, atoll://HOST:PORT/ID or an invite; a daemon is
/// reached first, and an invite redeemed. Errors as of adopt_node, adopt_daemon,
/// put_node and Care::set_redundancy.
Result<nlohmann::json> change_nodes(Drive& drive, const NodeCredentials& credentials, Clock& clock, Random& random,
                                    const nlohmann::json& request);

/// The one node that an address, or the beginning of an id, names. Code::not_found, invalid.
Result<NodeSpec> find_node(const Drive& drive, const std::string& text);

}  // namespace atl
