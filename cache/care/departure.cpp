// Caretaker: nodes that are to be emptied, and those that leave the drive.
#include <algorithm>

#include "cache/care/caretaker.h"
#include "cache/care/promises.h"

namespace atl {
namespace {

/// For the others to be told that a node left.
constexpr Duration telling_patience = std::chrono::minutes(2);

std::uint64_t shards_on(const Tables& tables, const NodeId& node) {
  std::uint64_t count = 0;
  for (const auto& [id, row] : tables.segments())
    if (row.live_extents > 0)
      count += static_cast<std::uint64_t>(std::count_if(row.placed.begin(), row.placed.end(), [&](const ShardHome& home) { return home.node == node; }));
  return count;
}

}  // namespace

Result<> Caretaker::drain(NodeId node, bool leaving, bool wait, const std::function<void(const CareProgress&)>& progress, std::stop_token stop) {
  {
    std::lock_guard lock(core_.mutex);
    if (auto refused = core_.refusal()) return fail(*refused);
    if (!core_.tables->nodes().contains(node)) return fail(Code::not_found, "no node of this drive has the id " + node.hex());
    if (core_.tables->volume().leaving.contains(node) != leaving) core_.log(NodeLeaving{node, leaving});
  }
  if (auto r = committer_.commit(); !r) return r;
  hurry();
  if (!wait || !leaving) return {};
  return await_empty(node, progress, stop);
}

Result<> Caretaker::await_empty(const NodeId& node, const std::function<void(const CareProgress&)>& progress, const std::stop_token& stop) {
  CareProgress now;
  bool stuck = false;
  std::optional<Error> refused;
  const auto done = [&] {
    std::uint64_t left = 0;
    {
      std::lock_guard lock(core_.mutex);
      refused = core_.refusal();
      left = shards_on(*core_.tables, node);
    }
    now.total = std::max(now.total, left);
    if (progress && now.done != now.total - left) progress({now.total - left, now.total});
    now.done = now.total - left;
    std::scoped_lock lock(flags_mutex_, mutex_);
    stuck = left > 0 && no_place_ && !running_ && !hurried_;
    return left == 0 || stuck || refused.has_value();
  };
  if (!core_.changed.wait(core_.seams.runtime, std::nullopt, stop, done)) return fail(Code::cancelled, "waiting was interrupted; the node is emptied all the same");
  if (refused) return fail(*refused);
  if (stuck)
    return fail(Code::too_few_nodes, "some of what the node holds has no other node to go to: a node holds at most one shard of a segment",
                "add a node (atoll node add); the rest moves by itself then");
  return {};
}

Result<> Caretaker::remove_node(NodeId node, const std::function<void(const CareProgress&)>& progress, std::stop_token stop) {
  bool was_leaving = false;
  {
    std::lock_guard lock(core_.mutex);
    if (auto refused = core_.refusal()) return fail(*refused);
    const VolumeRow& volume = core_.tables->volume();
    if (!core_.tables->nodes().contains(node)) return fail(Code::not_found, "no node of this drive has the id " + node.hex());
    was_leaving = volume.leaving.contains(node);
    std::vector<NodeSpec> counted;
    for (const auto& [id, spec] : core_.tables->nodes())
      if (id == node || !volume.leaving.contains(id)) counted.push_back(spec);
    if (auto broken = promise_broken_without(counted, node, {volume.k, volume.n}))
      return fail(Code::too_few_nodes, "the node cannot be removed: " + *broken, "add another first (atoll node add)");
  }
  Lsn target;
  for (bool removed = false; !removed;) {
    if (auto emptied = drain(node, true, true, progress, stop); !emptied) {
      if (emptied.error().code == Code::too_few_nodes && !was_leaving) (void)drain(node, false, false, {}, {});
      return emptied;
    }
    std::lock_guard telling(core_.engine_nodes_mutex);
    {
      std::lock_guard lock(core_.mutex);
      if (auto refused = core_.refusal()) return fail(*refused);
      if (shards_on(*core_.tables, node) > 0) continue;  // an upload that had begun before put something there
      core_.log(NodeRemoved{node});
      target = core_.telling_lsn;
    }
    removed = true;
    if (auto r = committer_.commit(); !r) return r;
    {
      std::lock_guard lock(mutex_);
      state_.nodes.erase(node);
      audit_due_.erase(node);
      suspicion_.erase(node);
      std::erase_if(state_.pending, [&](const PendingAudit& audit) { return audit.home.node == node; });
    }
    (void)core_.engine.load()->set_nodes(specs_for_engine());  // where it refuses, the next round tells it
  }
  // Until a head says where everything lies now, a fresh machine would look for it there.
  const auto told = [&] { return core_.published_lsn.load() >= target; };
  if (core_.changed.wait(core_.seams.runtime, core_.seams.clock.now() + telling_patience, stop, told)) return {};
  return fail(stop.stop_requested() ? Code::cancelled : Code::timed_out, "the node is removed, but too few of the others were told so yet",
              "keep what lies on it until `atoll sync` succeeds");
}

}  // namespace atl
