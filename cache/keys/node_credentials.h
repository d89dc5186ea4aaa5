// What this computer shows to node daemons on behalf of a drive: the account's key, which the keyring gives, so that a
// recovered drive has its accounts without any invite; and a device's key, random, which the account's key certifies.
//
// Blocking on the disk; thread-safe for different folders. Errors: those of the disk, and corrupt for a device key that
// is none.
#pragma once

#include <memory>
#include <string>

#include "cache/keys/keyring.h"
#include "engine/base/disk.h"
#include "engine/net/credentials.h"

namespace atl {

/// The drive's account at node daemons. Code::key if the keyring lacks its first epoch.
Result<KeyPair> account_key(const Keyring& keyring);

/// With the device key in `directory`, the drive's state folder, sealed under the keyring; made at the first call.
Result<std::shared_ptr<const NodeCredentials>> node_credentials(Disk& disk, const std::string& directory, const Keyring& keyring,
                                                                Random& random);

/// With a device key that nobody keeps: for a drive that has no folder here yet.
Result<std::shared_ptr<const NodeCredentials>> passing_node_credentials(const Keyring& keyring, Random& random);

}  // namespace atl
