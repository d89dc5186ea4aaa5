// What redundancy a drive gets where nobody chose one. Pure.
#pragma once

#include <cstddef>
#include <string>

#include "cache/erasure/shard_codec.h"
#include "engine/base/result.h"

namespace atl {

/// For this many nodes, at least 1: half of them may go for up to eleven, more than half beyond; never more than 80.
Redundancy default_redundancy(std::size_t nodes);
/// From how many durable shards on data counts as protected.
std::uint8_t default_protect_min(Redundancy redundancy);
/// "3/6" with 1 <= k <= n <= nodes. Code::invalid.
Result<Redundancy> parse_redundancy(const std::string& text, std::size_t nodes);

}  // namespace atl
