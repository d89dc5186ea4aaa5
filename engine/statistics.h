// How an engine's nodes answered, for a person who wonders which one is slow.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "engine/engine.h"

namespace atl {

/// Of one node, since the engine was made. Latencies are of the last 32 calls of a kind (writes are listings and removals
/// too), from asking to the whole answer; absent while fewer than four are known.
struct NodeStatistics {
  std::uint64_t answered = 0;     // calls
  std::uint64_t failed = 0;       // unreachable, full, or in trouble
  std::uint64_t timed_out = 0;
  std::uint64_t late_puts = 0;    // took several times as long as on other nodes
  std::uint64_t bad_answers = 0;  // did not verify
  std::optional<Duration> read_median;
  std::optional<Duration> read_p95;
  std::optional<Duration> write_median;
  std::optional<Duration> write_p95;
};

/// An engine that keeps them is one of these too. Thread-safe.
class StatisticsKeeper {
 public:
  virtual ~StatisticsKeeper() = default;
  virtual std::map<NodeId, NodeStatistics> statistics() const = 0;
};

}  // namespace atl
