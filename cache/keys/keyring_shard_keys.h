// The owner's way to the names and MACs of shards: derived from the keyring. Immutable; thread-safe.
#pragma once

#include "cache/erasure/shard_keys.h"
#include "cache/keys/keyring.h"

namespace atl {

class KeyringShardKeys final : public ShardKeys {
 public:
  /// Code::key if the keyring lacks its first epoch.
  static Result<KeyringShardKeys> make(const Keyring& keyring) {
    auto mac_key = keyring.derive(KeyEpoch{1}, KeyPurpose::shard_mac);
    if (!mac_key) return fail(mac_key.error());
    auto name_key = keyring.derive(KeyEpoch{1}, KeyPurpose::object_name);
    if (!name_key) return fail(name_key.error());
    return KeyringShardKeys(keyring.volume(), std::move(*mac_key), std::move(*name_key));
  }

  Result<AttemptMacs> macs(const AttemptId& attempt) const override { return AttemptMacs(AttemptMacs::key_of(mac_key_, volume_, attempt)); }
  std::string name(const AttemptId& attempt, ShardIndex shard, const NodeId& node) const override {
    return shard_object_name(name_key_, attempt, shard, node);
  }

 private:
  KeyringShardKeys(const VolumeId& volume, SecretKey mac_key, SecretKey name_key)
      : volume_(volume), mac_key_(std::move(mac_key)), name_key_(std::move(name_key)) {}

  VolumeId volume_;
  SecretKey mac_key_;
  SecretKey name_key_;
};

}  // namespace atl
