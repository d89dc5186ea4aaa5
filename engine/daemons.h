// Node daemons as nodes of a drive: reaching one for the first time, and an engine that speaks to them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/net/credentials.h"

namespace atl {

/// An engine as make_engine of engine.h makes it, which shows `credentials` to its atoll: nodes.
Result<std::unique_ptr<Engine>> make_engine(std::vector<NodeSpec> nodes, std::shared_ptr<const NodeCredentials> credentials,
                                            EngineOptions options, Clock& clock, Random& random);

/// The same for a delegate: it cannot remove anything, and has no access to a daemon that it has no certificate for.
Result<std::unique_ptr<Engine>> make_engine(std::vector<NodeSpec> nodes, std::shared_ptr<const DelegateCredentials> credentials,
                                            EngineOptions options, Clock& clock, Random& random);

/// Whether a text is an invite or the URL of a node daemon.
bool names_daemon(const std::string& text);

/// Whether it is an invite.
bool names_invite(const std::string& text);

/// Reaches the daemon of an invite, which is redeemed, or of atoll://HOST:PORT/ID, where the drive has an account; its
/// labels are those that it gives itself. Blocks, for up to about a minute. Code::unavailable, invalid;
/// not_permitted: the node said that the invite is another's.
Result<NodeSpec> adopt_daemon(const std::string& text, const NodeCredentials& credentials, Clock& clock);

/// Who speaks for a drive's account at one node daemon.
struct NodeDevices {
  std::vector<KeyId> seen;     // and not revoked
  std::vector<KeyId> revoked;
};
/// Asks the daemon `node`. Blocks, for up to about half a minute. Code::unavailable.
Result<NodeDevices> node_devices(const NodeSpec& node, const NodeCredentials& credentials, Clock& clock);
/// No certificate of the device is accepted there any more. Likewise.
Result<> revoke_device(const NodeSpec& node, const KeyId& device, const NodeCredentials& credentials, Clock& clock);

}  // namespace atl
