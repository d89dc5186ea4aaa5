// Brings shards of one segment to nodes: all at once, each to a node of its own, elsewhere when a node fails.
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

  Upload(EngineParts& parts, UploadRequest request);
  void stop() override;

 private:
  struct Trouble {
    int failures = 0;
    bool given_up = false;
    MonotonicTime not_before{};
  };

  void start() override;
  void schedule();
  std::vector<PlacementNode> candidates() const;
  std::vector<PlacementNode> occupied() const;
  void put(ShardHome home);
  void put_ended(ShardHome home, std::uint64_t bytes, Result<> result);
  void note_trouble(std::size_t node, const Error& error);
  /// When the earliest pause ends of a node that could still help.
  std::optional<MonotonicTime> next_chance() const;
  Error why_stuck() const;
  void finish(Result<> result);

  UploadRequest request_;
  std::vector<ShardIndex> missing_;                            // neither stored nor under way
  std::map<ShardHome, std::shared_ptr<Operation>> under_way_;
  std::set<std::size_t> in_use_;                               // nodes with a shard, or getting one
  std::map<std::size_t, Trouble> trouble_;
  std::optional<Error> last_error_;
  bool out_of_space_ = false;
  bool finished_ = false;
  Loop::TimerId timer_ = 0;
};

}  // namespace atl
