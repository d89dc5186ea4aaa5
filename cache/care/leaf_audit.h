// Audits: random leaves of random shards, asked of the nodes that should hold them, and what the answers say. Whose rows
// these are, and when which node is asked, is the caller's.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <stop_token>
#include <vector>

#include "cache/care/care_state.h"
#include "cache/erasure/shard_keys.h"
#include "engine/base/random.h"
#include "engine/base/runtime.h"

namespace atl {

struct LeafSample {
  SegmentId segment;
  PendingAudit audit;
  std::uint64_t object_bytes = 0;  // of the whole shard
};

/// Chooses one sample for each node that is due: what is pending there first, else each leaf of each shard on the node is
/// as likely as any other. Rows are offered one after the other, each once. Not thread-safe.
class SampleChooser {
 public:
  /// `random` outlives it.
  SampleChooser(std::set<NodeId> due, const CareState& state, Random& random);
  /// `busy`: the row's shards are moving right now, and are left alone.
  void offer(SegmentId segment, const SegmentRow& row, bool busy);
  const std::map<NodeId, LeafSample>& samples() const { return samples_; }
  /// When all rows were offered: what waited for shards that have moved or gone waits no more.
  void forget_gone(CareState& state) const;

 private:
  using Place = std::pair<AttemptId, ShardHome>;
  const std::set<NodeId> due_;
  const BadShards bad_;
  Random& random_;
  std::map<Place, PendingAudit> pending_;
  std::set<Place> there_;      // of the pending ones
  std::set<NodeId> settled_;   // have a pending one, which goes first
  std::map<NodeId, std::uint64_t> weights_;
  std::map<NodeId, LeafSample> samples_;
};

enum class LeafVerdict {
  right,
  wrong,   // another leaf than was stored, or none where one was stored
  silent,  // there, and no answer for this shard
  away,    // no fault of its answers
};

struct LeafAnswer {
  LeafSample sample;
  LeafVerdict verdict = LeafVerdict::away;
  Duration took{};
};

/// Asks for all samples at once and blocks until the answers are there, or patience is over. Nothing if `stop` was
/// requested meanwhile. All arguments outlive what is asked, which ends with the engine.
std::optional<std::vector<LeafAnswer>> ask_leaves(Engine& engine, Runtime& runtime, const std::stop_token& stop, const ShardKeys& keys,
                                                  const std::vector<LeafSample>& samples);

/// Someone saw a leaf that did not verify: it is asked for before any other.
void note_suspect(CareState& state, const PendingAudit& audit);

enum class AuditEffect { none, asked_again, found_bad };
/// What an answer does to the node's record and to what is known of the shard. Not for one that is away.
AuditEffect note_answer(CareState& state, const LeafAnswer& answer);

}  // namespace atl
