// What care remembers from one mount to the next: how nodes behaved, since when they are away, which shards are bad, and
// which audits wait for an answer. A file of the state folder; FORMAT.md, "Care". Losing it costs what was learnt, no data.
//
// Values; not thread-safe.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cache/care/plan.h"
#include "cache/care/reputation.h"
#include "engine/base/disk.h"
#include "engine/base/result.h"

namespace atl {

struct NodeMemory {
  Reputation reputation;
  std::optional<std::uint64_t> away_since;  // on the clock of RanFor
  bool counted_lost = false;                // its loss is in `losses`
};

/// A leaf that a node was asked for and did not answer: it is asked for again, before any other.
struct PendingAudit {
  AttemptId attempt;
  ShardHome home;
  std::uint32_t leaf = 0;
  unsigned tries = 0;
  friend bool operator==(const PendingAudit&, const PendingAudit&) = default;
};

struct CareState {
  std::map<NodeId, NodeMemory> nodes;
  BadShards bad;
  std::vector<PendingAudit> pending;
  std::uint64_t node_seconds = 0;   // for which nodes were watched, all together
  std::uint64_t losses = 0;         // nodes that were lost for good meanwhile
  std::optional<SegmentId> checked_up_to;  // of a check that was interrupted
};

std::string care_path(const std::string& directory);
Bytes encode_care(const CareState& state, const VolumeId& volume);
/// Code::corrupt for anything but what encode_care made for this volume; newer_format.
Result<CareState> decode_care(ByteView bytes, const VolumeId& volume);

}  // namespace atl
