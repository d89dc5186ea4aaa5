// The part of repairs and moves that happens on nodes: where shards go, reading what is needed of them, rebuilding them
// from any k, and storing them. It keeps no record of anything: whoever calls has written down where objects may come to
// lie before store(), and writes down where they lie after it.
//
// Only leaves that verified are computed with: what did not verify is never given a MAC. No content key is used.
// Blocks for nodes; one call at a time. Memory: the new objects, and a window of each of k shards.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "cache/care/plan.h"
#include "cache/erasure/shard_keys.h"
#include "engine/base/random.h"
#include "engine/base/runtime.h"

namespace atl {

/// A node that answers.
struct ShardPlace {
  NodeStatus node;
  bool trusted = true;  // may be given something new
};

/// One shard that is to lie somewhere else.
struct ShardTarget {
  ShardHome old;
  NodeId to;
  bool in_place = false;  // a damaged one, replaced where it is
  Bytes object;           // filled by ShardTransfer::read
};

/// What choose_targets goes by; all outlive the call.
struct TargetChoice {
  const SegmentRow& row;
  const CareJob& job;
  const std::map<NodeId, NodeSpec>& specs;                  // of all nodes of the drive
  std::span<const ShardPlace> places;
  const BadShards& bad;
  const std::map<ShardHome, NodeId>& destinations;          // where it was decided already; empty: nothing was
  std::function<bool(ShardIndex, const NodeId&)> usable;    // whether an object of this shard may come to lie there
  bool may_replace = true;                                  // damaged objects can be removed
};

/// Where the job's shards go: what an interrupted move had chosen (a stray of the row) again, else by placement.
/// `no_place` becomes true if something has no node to go to.
std::vector<ShardTarget> choose_targets(const TargetChoice& choice, Random& random, bool& no_place);

class ShardTransfer {
 public:
  struct Outcome {
    std::vector<ShardHome> replaced;  // the old homes of what was stored
    std::vector<ShardHome> taken;     // places where the shard's name holds something else: it is of no use to anybody
    std::uint64_t read_bytes = 0;
    std::uint64_t written_bytes = 0;
  };
  struct Seams {
    const ShardKeys& keys;
    std::function<bool(const ShardHome&)> still_wanted;                                             // asked again and again
    std::function<void(const AttemptId&, const ShardHome&, std::uint32_t leaf)> did_not_verify;     // on an engine thread
  };

  /// All outlive it, and `keys` whatever is asked through it.
  ShardTransfer(Engine& engine, Runtime& runtime, std::stop_token stop, Seams seams)
      : engine_(engine), runtime_(runtime), stop_(std::move(stop)), seams_(std::move(seams)) {}

  /// Fills the targets' objects. Those of `copied` are read as they are, where nothing needs to be rebuilt.
  /// Code::too_few_nodes if fewer than k shards could be read, cancelled.
  Result<> read(const SegmentRow& row, std::span<const ShardHome> copied, const BadShards& bad, std::vector<ShardTarget>& targets, Outcome& outcome);
  /// Stores what read() made, all at once. What could not be stored is not in the outcome.
  void store(const SegmentRow& row, std::vector<ShardTarget>& targets, Outcome& outcome);

 private:
  Result<> read_windows(const SegmentRow& row, const BadShards& bad, std::span<ShardTarget> targets, const std::optional<ShardHome>& wanted,
                        Outcome& outcome);

  Engine& engine_;
  Runtime& runtime_;
  const std::stop_token stop_;
  const Seams seams_;
};

}  // namespace atl
