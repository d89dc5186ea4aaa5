// MACs of the leaves of one attempt, from the attempt's own key. That key tells nothing of any other attempt's, nor of content:
// whoever has it can verify and rebuild the attempt's shards, and no more. LeafMacs (shard_codec.h) derives it.
// Immutable; thread-safe.
#pragma once

#include <span>

#include "cache/erasure/shard_codec.h"

namespace atl {

class AttemptMacs {
 public:
  explicit AttemptMacs(SecretKey attempt_key);
  static SecretKey key_of(const SecretKey& shard_mac_key, const VolumeId& volume, const AttemptId& attempt);

  void compute(ShardIndex shard, std::uint32_t leaf, ByteView payload, std::span<std::uint8_t, leaf_mac_bytes> mac) const;
  /// As LeafMacs::verify.
  bool verify(ShardIndex shard, std::uint32_t first_leaf, std::uint32_t count, ByteView answer) const;

 private:
  SecretKey key_;
};

}  // namespace atl
