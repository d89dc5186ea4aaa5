// Who may speak to a node, and as whom: accounts by their own key, their devices and delegates by certificates that the
// account's key signed, and holders of invites, who may do nothing but open an account.
//
// welcome() runs during handshakes, before anything but the certificate was parsed; it reads one small file or two, and
// writes one where a device of an account comes for the first time.
// All calls block that long; thread-safe.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/clock.h"
#include "engine/base/disk.h"
#include "engine/daemon/store/object_store.h"
#include "engine/net/tls.h"

namespace atl {

enum class Role { owner, device, delegate, invite };
std::string_view to_string(Role role);

struct Peer {
  Role role = Role::invite;
  KeyId key;          // of the certificate
  AccountId account;  // of an invite: its key's id, so that it is a tenant of its own
  DelegateRights rights = {};  // of a delegate
};

class Gatekeeper {
 public:
  static constexpr std::size_t revoked_max = 500;
  static constexpr std::size_t devices_max = 64;  // that are remembered, of an account

  /// All outlive it. `folder` is the data folder.
  Gatekeeper(ObjectStore& store, Disk& disk, std::string folder, const NodeId& node, const Clock& clock);

  /// Nothing: unknown, revoked, expired.
  std::optional<Peer> welcome(const PeerCertificate& certificate);
  /// Whether a peer that was let in may still stay: neither its account removed nor its device revoked meanwhile.
  bool still_welcome(const Peer& peer);

  /// Opens the account of `account`, whose key signed redeem_message(). Once per invite; the same account again succeeds.
  /// Where it exists already, its quota becomes the larger of both. Code::not_permitted: the invite is another's.
  Result<AccountId> redeem(const Peer& invite, const PublicKey& account, const Signature& signature);
  /// No certificate of this device is accepted for the account any more. Code::no_space beyond revoked_max.
  Result<> revoke(const AccountId& account, const KeyId& device);
  Result<std::vector<KeyId>> revoked(const AccountId& account);
  /// Those that came and are not revoked, the first ones first.
  Result<std::vector<KeyId>> devices(const AccountId& account);

 private:
  void remember(const Peer& device);

  ObjectStore& store_;
  Disk& disk_;
  const std::string folder_;
  const NodeId node_;
  const Clock& clock_;
  std::mutex mutex_;  // one change of an account or an invite at a time
};

}  // namespace atl
