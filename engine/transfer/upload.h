// Brings shards of one segment to nodes: all at once, each to a node of its own, elsewhere when a node fails.
//
// The long tail: once half of the shards are stored, a put that takes several times as long as those did is late. Its
// shard is sent to a further node as well, if there is one; the first to end wins and the others are given up. Late nodes
// are passed over for some minutes where labels allow it.
//
// A node that is absent, full or holds another object under the name is not asked again by this upload; one that failed
// otherwise is asked again after a pause that grows and is random in part, a few times. Ends when all are stored, or
// when nothing runs, nothing waits for a pause, and no node is left.
// On the loop's thread only; cancel() from any.
#pragma once

#include <map>
#include <set>

#include "engine/placement/placement.h"
#include "engine/transfer/operation.h"
#include "engine/transfer/parts.h"

namespace atl {

class Upload final : public RunningTransfer {
 public:
  static constexpr int attempts_per_node_max = 3;
  static constexpr Duration first_pause = std::chrono::milliseconds(200);
  static constexpr Duration late_after_min = std::chrono::milliseconds(500);
  static constexpr int late_factor = 3;  // times the median of what this upload's puts took

  Upload(EngineParts& parts, UploadRequest request);
  void stop() override;

 private:
  struct Trouble {
    int failures = 0;
    bool given_up = false;
    MonotonicTime not_before{};
  };
  struct Put {
    std::shared_ptr<Operation> operation;
    MonotonicTime asked_at{};  // waiting for a slot included, as for those that it is compared with
    bool started = false;      // not waiting for a slot or for the line any more
    bool hedged = false;       // late: its shard was sent to a further node, if there was one
  };

  void start() override;
  void schedule();
  std::vector<PlacementNode> candidates() const;
  std::vector<PlacementNode> occupied() const;
  void put(ShardHome home);
  const NodeId& id_of(std::size_t node) const;
  /// Sends the shards of late puts to further nodes; when the next put will be late.
  std::optional<MonotonicTime> hedge_late();
  /// How long a put may take before it is late. Nothing before half of the shards are stored.
  std::optional<Duration> put_patience() const;
  bool under_way(ShardIndex shard) const;
  void give_up_others(ShardIndex shard);
  void put_ended(ShardHome home, std::size_t node, std::uint64_t bytes, Result<> result);
  void note_trouble(std::size_t node, const Error& error);
  /// When the earliest pause ends of a node that could still help.
  std::optional<MonotonicTime> next_chance() const;
  Error why_stuck() const;
  void finish(Result<> result);

  UploadRequest request_;
  std::vector<ShardIndex> missing_;                            // neither stored nor under way
  std::map<ShardHome, Put> under_way_;                         // of one shard at most one that is not late
  std::vector<Duration> took_;                                 // puts that succeeded
  std::set<NodeId> in_use_;                                    // nodes with a shard, or getting one
  std::map<std::size_t, Trouble> trouble_;
  std::optional<Error> last_error_;
  bool out_of_space_ = false;
  bool finished_ = false;
  Loop::TimerId timer_ = 0;
};

}  // namespace atl
