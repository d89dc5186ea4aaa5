// What a drive shows to node daemons: the account's own key, which may do everything, and this device's, certified by it.
// And what its delegate shows: a key of its own, with a certificate for each node that says what it may do there.
// Values; free to share between threads.
#pragma once

#include <map>
#include <string>

#include "engine/net/key_pair.h"

namespace atl {

struct NodeCredentials {
  KeyPair account;
  KeyPair device;
};

struct DelegateCredentials {
  KeyPair key;
  std::map<NodeId, std::string> certificates;  // PEM, as TlsIdentity writes it; by the account, for this key
};

/// What an account's key signs to prove, at the redeeming of an invite, that it wants an account there.
inline Bytes redeem_message(const NodeId& node, const KeyId& invite) {
  constexpr std::string_view title = "atoll-redeem-1";
  Bytes message(as_bytes(title).begin(), as_bytes(title).end());
  message.insert(message.end(), node.bytes.begin(), node.bytes.end());
  message.insert(message.end(), invite.bytes.begin(), invite.bytes.end());
  return message;
}

}  // namespace atl
