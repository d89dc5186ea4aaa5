// Caretaker: shards that would lie better elsewhere, when nothing else is to be done.
#include <algorithm>

#include "cache/care/balance.h"
#include "cache/care/caretaker.h"
#include "engine/base/mutant.h"

namespace atl {
namespace {

constexpr std::size_t chunk_segments = 4096;  // looked at under one hold of the state lock
constexpr std::size_t moves_max = 64;         // of one pass
/// The order of things is looked at anew so often, though nothing is known to have changed.
constexpr Duration look_interval = std::chrono::hours(1);
/// Moves for order's sake take this part of the bandwidth that repairs may take.
constexpr std::uint64_t bandwidth_divisor = 4;

}  // namespace

bool Caretaker::rebalance() {
  const MonotonicTime now = core_.seams.clock.now();
  const NodeFates known = fates();
  const std::vector<NodeStatus> statuses = core_.engine.load()->nodes();
  // Only where all is well: who is missing may return, and what leaves moves anyway.
  for (const auto& [node, fate] : known)
    if (fate != NodeFate::present && !mutant("balance-amid-trouble")) return false;
  std::map<NodeId, Labels> order;
  for (const NodeStatus& status : statuses) order[status.spec.id] = status.spec.labels;
  if (order == balanced_order_ && now < balance_after_) return false;

  std::map<NodeId, BalanceNode> nodes;
  for (const NodeStatus& status : statuses)
    if (known.contains(status.spec.id))
      nodes[status.spec.id] = {status.spec.labels, 0, status.free_bytes, status.state == NodeState::ok || status.state == NodeState::slow};
  const auto object_bytes = [](const SegmentRow& row) { return ShardGeometry::of({row.k, row.n}, row.shipped_bytes()).object_bytes(); };
  const auto for_all = [&](const std::function<bool(SegmentId, const SegmentRow&)>& visit) {
    for (std::optional<SegmentId> after;;) {
      std::lock_guard lock(core_.mutex);
      const auto& segments = core_.tables->segments();
      auto at = after ? segments.upper_bound(*after) : segments.begin();
      for (std::size_t i = 0; i < chunk_segments && at != segments.end(); ++i, ++at) {
        after = at->first;
        const SegmentRow& row = at->second;
        if (row.full() && row.live_extents > 0 && !visit(at->first, row)) return;
      }
      if (at == segments.end()) return;
    }
  };
  for_all([&](SegmentId, const SegmentRow& row) {
    for (const ShardHome& home : row.placed)
      if (const auto node = nodes.find(home.node); node != nodes.end()) node->second.used_bytes += object_bytes(row);
    return true;
  });
  Balance balance(std::move(nodes));
  std::vector<std::pair<CareJob, NodeId>> jobs;
  for_all([&](SegmentId id, const SegmentRow& row) {
    const auto move = balance.choose(row, object_bytes(row));
    if (!move) return true;
    balance.made(*move, object_bytes(row));
    CareJob job;
    job.segment = id;
    job.attempt = row.attempt;
    job.margin = row.n - row.k;
    job.move = {move->from};
    jobs.emplace_back(std::move(job), move->to);
    return jobs.size() < moves_max;
  });
  if (jobs.empty()) {
    balanced_order_ = std::move(order);
    balance_after_ = now + look_interval;
    return false;
  }
  bool any = false;
  for (const auto& [job, to] : jobs) {
    if (!within_budget() || tasks_.stop_token().stop_requested()) return true;
    const std::uint64_t before = core_.counters.balance_bytes;
    any = run_job(job, {{job.move.front(), to}}) || any;
    spend((bandwidth_divisor - 1) * (core_.counters.balance_bytes - before));
    if (fates() != known) return true;
  }
  // What could not be moved now is not tried again at once.
  if (!any) {
    balanced_order_ = std::move(order);
    balance_after_ = now + look_interval;
  }
  return any;
}

}  // namespace atl
