// Reads one shard whole from the node that is said to hold it, and compares every MAC; and every byte, where they are known.
#pragma once

#include <stop_token>

#include "cache/erasure/shard_keys.h"
#include "cache/index/rows.h"
#include "engine/base/runtime.h"

namespace atl {

enum class ShardVerdict {
  whole,
  damaged,
  missing,
  silent,  // nothing can be said now
};

/// `row` is of the shard's attempt; `home` need not be its home. `expected`: the whole object; empty where it is not known.
/// Blocks for the node. Adds to `read_bytes`.
ShardVerdict verify_shard(Engine& engine, Runtime& runtime, const std::stop_token& stop, const ShardKeys& keys, const SegmentRow& row,
                          const ShardHome& home, ByteView expected, std::uint64_t& read_bytes);

}  // namespace atl
