#include "engine/daemon/gatekeeper.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/base/mutant.h"
#include "engine/daemon/server_folder.h"
#include "engine/net/credentials.h"

namespace atl {

namespace {

using Json = nlohmann::json;

/// What the server keeps in an account's blob. FORMAT.md, "Data folder of a node daemon".
struct AccountKeys {
  PublicKey key;
  std::vector<KeyId> revoked;
  std::vector<KeyId> devices;  // that came
};

Bytes encode(const AccountKeys& keys) {
  Json json{{"key", keys.key.hex()}, {"revoked", Json::array()}, {"devices", Json::array()}};
  for (const KeyId& device : keys.revoked) json["revoked"].push_back(device.hex());
  for (const KeyId& device : keys.devices) json["devices"].push_back(device.hex());
  const std::string text = json.dump();
  return {text.begin(), text.end()};
}

std::optional<AccountKeys> decode(ByteView blob) {
  const Json json = Json::parse(blob.begin(), blob.end(), nullptr, false);
  if (!json.is_object()) return std::nullopt;
  try {
    AccountKeys keys;
    const auto key = PublicKey::from_hex(json.at("key").get<std::string>());
    if (!key) return std::nullopt;
    keys.key = *key;
    for (const Json& text : json.at("revoked")) {
      const auto device = KeyId::from_hex(text.get<std::string>());
      if (!device) return std::nullopt;  // a revocation that cannot be read must not let anyone in
      keys.revoked.push_back(*device);
    }
    for (const Json& text : json.value("devices", Json::array())) {
      const auto device = KeyId::from_hex(text.is_string() ? text.get<std::string>() : std::string());
      if (device) keys.devices.push_back(*device);
    }
    return keys;
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

bool contains(const std::vector<KeyId>& list, const KeyId& id) { return std::find(list.begin(), list.end(), id) != list.end(); }

AccountId account_of(const KeyId& key) {
  AccountId id;
  id.bytes = key.bytes;
  return id;
}

}  // namespace

std::string_view to_string(Role role) {
  switch (role) {
    case Role::owner: return "owner";
    case Role::device: return "device";
    case Role::delegate: return "delegate";
    case Role::invite: return "invite";
  }
  return "invite";
}

Gatekeeper::Gatekeeper(ObjectStore& store, Disk& disk, std::string folder, const NodeId& node, const Clock& clock)
    : store_(store), disk_(disk), folder_(std::move(folder)), node_(node), clock_(clock) {}

std::optional<Peer> Gatekeeper::welcome(const PeerCertificate& certificate) {
  const KeyId key = key_id(certificate.key);
  if (certificate.issuer) {
    Peer device{certificate.delegate ? Role::delegate : Role::device, key, account_of(*certificate.issuer)};
    if (certificate.delegate) device.rights = *certificate.delegate;
    const auto account = store_.account(device.account);
    const auto keys = account ? decode(account->blob) : std::nullopt;
    if (!keys || (contains(keys->revoked, key) && !mutant("revoked-let-in"))) return std::nullopt;
    if (!certificate.signed_by(keys->key) && !mutant("device-unsigned")) return std::nullopt;
    if (!contains(keys->devices, key) && keys->devices.size() < devices_max) remember(device);
    return device;
  }
  const Peer owner{Role::owner, key, account_of(key)};
  if (still_welcome(owner)) return owner;
  const Peer invite{Role::invite, key, account_of(key)};
  if (still_welcome(invite)) return invite;
  return std::nullopt;
}

void Gatekeeper::remember(const Peer& device) {
  const std::lock_guard lock(mutex_);
  auto account = store_.account(device.account);
  auto keys = account ? decode(account->blob) : std::nullopt;
  if (!keys || contains(keys->devices, device.key) || keys->devices.size() >= devices_max) return;
  keys->devices.push_back(device.key);
  account->blob = encode(*keys);
  // It may come in all the same, and is remembered the next time: only a list for people is shorter meanwhile.
  (void)store_.put_account(*account);
}

bool Gatekeeper::still_welcome(const Peer& peer) {
  if (peer.role == Role::invite) {
    const auto invite = read_invite(disk_, folder_, peer.key);
    return invite && invite->expires_seconds > clock_.wall_now().seconds;
  }
  const auto account = store_.account(peer.account);
  if (!account) return false;
  if (peer.role == Role::owner) return true;
  const auto keys = decode(account->blob);
  return keys && (!contains(keys->revoked, peer.key) || mutant("revoked-let-in"));
}

Result<AccountId> Gatekeeper::redeem(const Peer& peer, const PublicKey& key, const Signature& signature) {
  if (!verify_signature(key, redeem_message(node_, peer.key), signature))
    return fail(Code::not_permitted, "the account's signature does not fit this node and invite");
  const std::lock_guard lock(mutex_);
  auto invite = read_invite(disk_, folder_, peer.key);
  if (!invite) return fail(invite.error());
  const AccountId id = account_of(key_id(key));
  if (invite->state != InviteRecord::State::open && invite->account != id && !mutant("invite-reused"))
    return fail(Code::not_permitted, "this invite was used by somebody else", "ask the node's owner for another");
  auto account = store_.account(id);
  if (!account && account.error().code != Code::not_found) return fail(account.error());
  if (invite->state == InviteRecord::State::redeemed && !mutant("invite-reused")) {
    if (!account) return fail(Code::not_permitted, "the account was closed", "ask the node's owner for another invite");
    return id;
  }
  // The invite is bound before the account exists, so that no crash in between lets a second account in.
  invite->state = InviteRecord::State::claimed;
  invite->account = id;
  if (auto written = write_invite(disk_, folder_, *invite); !written) return fail(written.error());
  Account opened;
  if (account) opened = std::move(*account);
  if (!account) {
    opened.id = id;
    opened.label = invite->label;
    opened.blob = encode({key, {}, {}});
  }
  opened.quota_bytes = std::max(opened.quota_bytes, invite->quota_bytes);
  if (auto put = store_.put_account(opened); !put) return fail(put.error());
  invite->state = InviteRecord::State::redeemed;
  if (auto written = write_invite(disk_, folder_, *invite); !written) return fail(written.error());
  return id;
}

Result<> Gatekeeper::revoke(const AccountId& id, const KeyId& device) {
  const std::lock_guard lock(mutex_);
  auto account = store_.account(id);
  if (!account) return fail(account.error());
  auto keys = decode(account->blob);
  if (!keys) return fail(Code::corrupt, "the account's keys are damaged");
  if (contains(keys->revoked, device)) return {};
  if (keys->revoked.size() >= revoked_max)
    return fail(Code::no_space, "the account has revoked " + std::to_string(revoked_max) + " devices already");
  keys->revoked.push_back(device);
  std::erase(keys->devices, device);
  account->blob = encode(*keys);
  return store_.put_account(*account);
}

Result<std::vector<KeyId>> Gatekeeper::revoked(const AccountId& id) {
  const auto account = store_.account(id);
  if (!account) return fail(account.error());
  auto keys = decode(account->blob);
  if (!keys) return fail(Code::corrupt, "the account's keys are damaged");
  return std::move(keys->revoked);
}

Result<std::vector<KeyId>> Gatekeeper::devices(const AccountId& id) {
  const auto account = store_.account(id);
  if (!account) return fail(account.error());
  auto keys = decode(account->blob);
  if (!keys) return fail(Code::corrupt, "the account's keys are damaged");
  return std::move(keys->devices);
}

}  // namespace atl
