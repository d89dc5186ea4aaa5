// Keeps a drive healthy by itself: watches its nodes, asks them for random leaves, rebuilds what is lost, empties nodes
// that are to leave.
//
// One round at a time, every few seconds. A round plans from the rows as they are
// (care/plan.h), so that there is no queue to lose: after a crash the next mount plans the same. What is done is bounded
// in bandwidth. A node that comes back changes the plan, also while a job runs.
#pragma once

#include <mutex>

#include "cache/care/care.h"
#include "cache/care/care_state.h"
#include "cache/care/delegates.h"
#include "cache/care/leaf_audit.h"
#include "cache/care/loss_estimate.h"
#include "cache/care/shard_check.h"
#include "cache/care/shard_mover.h"
#include "cache/drive/checkpointer.h"

namespace atl {

class HistoryCheck;

/// Whether a node in this state can be asked for anything.
inline bool answers(NodeState state) { return state != NodeState::absent; }

class Caretaker final : public Care, public DelegateKeeper {
 public:
  Caretaker(DriveCore& core, Committer& committer, Shipper& shipper, Checkpointer& checkpointer, Tasks& tasks)
      : core_(core), committer_(committer), shipper_(shipper), checkpointer_(checkpointer), tasks_(tasks), mover_(core, committer, shipper, tasks), delegates_(core, committer, shipper, tasks) {}

  /// Remembers what the last mount knew; core.engine is set.
  void start();
  /// Nothing new begins; what runs is a task, and ends when tasks are asked to stop.
  void stop();
  /// Writes down what is to be remembered; when no round runs.
  void save();

  CareStatus status() override;
  Result<> drain(NodeId node, bool leaving, bool wait, const std::function<void(const CareProgress&)>& progress,
                 std::stop_token stop) override;
  Result<> remove_node(NodeId node, const std::function<void(const CareProgress&)>& progress, std::stop_token stop) override;
  Result<CheckReport> check(const CheckOptions& options, const std::function<void(const CheckProgress&)>& progress, std::stop_token stop) override;
  Result<> set_redundancy(Redundancy redundancy, std::uint8_t protect_min) override;
  void hurry() override;
  Result<Made> make_delegate(const std::string& drive_name, std::stop_token stop) override { return delegates_.make(drive_name, stop); }
  Result<bool> forget_delegate(const KeyId& device, std::stop_token stop) override { return delegates_.forget(device, stop); }
  std::vector<DelegateStatus> delegates() override { return delegates_.status(); }

 private:
  void schedule(Duration delay);
  void pump();
  void round();
  void observe();
  /// What leaves or fails gets nothing new from uploads either.
  void tell_engine();
  std::vector<NodeSpec> specs_for_engine();
  void recall();
  Result<CheckReport> run_check(const CheckOptions& options, const std::function<void(const CheckProgress&)>& progress, const std::stop_token& stop);
  /// Makes good what can be made good on this computer.
  Result<> mend_here(CheckReport& report, HistoryCheck& history);
  /// Until repairs have replaced these, or can do nothing more now. How many are left.
  Result<std::uint64_t> await_mended(const std::vector<ShardCheck::Fault>& faults, const std::function<void(const CheckProgress&)>& progress,
                                     const std::stop_token& stop);
  /// Counts what the faults mean for segments and files.
  Result<> weigh(CheckReport& report);
  /// Until nothing that lives has its home there.
  Result<> await_empty(const NodeId& node, const std::function<void(const CareProgress&)>& progress, const std::stop_token& stop);
  NodeFates fates();
  NodeFate fate_of(const NodeId& node, const std::map<NodeId, NodeState>& states, const std::set<NodeId>& leaving);
  std::vector<CareJob> plan(const NodeFates& fates);
  /// True if something was done.
  bool repair();
  /// Moves shards that would lie better elsewhere (balance.h). True if there may be more to move.
  bool rebalance();
  bool run_job(const CareJob& job, const std::map<ShardHome, NodeId>& destinations);
  void take_suspects();
  void audit();
  std::vector<LeafSample> choose_samples(const std::set<NodeId>& due);
  void judge(const LeafAnswer& answer);
  bool still_wanted(const AttemptId& attempt, const ShardHome& home);
  bool within_budget() const;
  void spend(std::uint64_t bytes);

  DriveCore& core_;
  Committer& committer_;
  Shipper& shipper_;
  Checkpointer& checkpointer_;
  Tasks& tasks_;
  ShardMover mover_;
  Delegates delegates_;

  std::mutex flags_mutex_;
  bool stopped_ = true;
  bool running_ = false;
  bool again_ = false;
  bool hurried_ = false;
  bool paying_ = false;    // the next repair waits for bandwidth
  bool checking_ = false;

  std::mutex save_mutex_;  // one writes the file at a time; taken before mutex_

  std::mutex estimate_mutex_;  // guards estimate_; no other is taken inside
  std::optional<LossEstimate> estimate_;  // of the last status: the next is likely to ask the same

  mutable std::mutex mutex_;  // guards what follows; after the state lock, where both are held
  CareState state_;
  std::optional<MonotonicTime> observed_at_;
  std::map<NodeId, NodeState> seen_states_;
  std::map<NodeId, MonotonicTime> audit_due_;
  std::map<NodeId, unsigned> suspicion_;  // so many audits follow quickly
  std::map<SegmentId, MonotonicTime> not_before_;
  std::uint64_t waiting_jobs_ = 0;
  bool no_place_ = false;

  // Of the one round that runs.
  MonotonicTime free_at_{};
  MonotonicTime saved_at_{};
  std::map<NodeId, Labels> balanced_order_;  // the nodes for which all lay well
  MonotonicTime balance_after_{};
};

}  // namespace atl
