// What it takes to name and to verify a drive's shards: less than it takes to read them. An owner derives it from the
// keyring (cache/keys/keyring_shard_keys.h), a delegate was given it. Implementations are immutable and thread-safe.
#pragma once

#include <string>

#include "cache/erasure/attempt_macs.h"

namespace atl {

class ShardKeys {
 public:
  virtual ~ShardKeys() = default;
  /// Code::key for an attempt whose key is not known.
  virtual Result<AttemptMacs> macs(const AttemptId& attempt) const = 0;
  virtual std::string name(const AttemptId& attempt, ShardIndex shard, const NodeId& node) const = 0;
};

}  // namespace atl
