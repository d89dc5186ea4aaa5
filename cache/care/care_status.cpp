// Caretaker: what is told about margins, risks and nodes.
#include <algorithm>

#include "cache/care/caretaker.h"
#include "cache/erasure/shard_codec.h"

namespace atl {
namespace {

/// A country or an owner as a whole, once in a hundred years. An assumption: nothing that one drive sees can tell.
constexpr double domain_losses_a_year = 0.01;
/// Until a loss is noticed, since computers are off at night, and rebuilt; more where there is more to transfer.
constexpr double transfer_seconds_min = 86400;
/// Until a person brings a node, where none is free to take what is lost.
constexpr double person_seconds = 30 * 86400.0;

}  // namespace

CareStatus Caretaker::status() {
  CareStatus status;
  const Engine* engine = core_.engine.load();
  if (engine == nullptr) return status;
  const NodeFates known = fates();
  std::size_t present = 0;
  for (const auto& [node, fate] : known) present += fate == NodeFate::present ? 1 : 0;

  std::map<NodeId, NodeCare> nodes;
  LossModel model;
  std::map<NodeId, std::uint64_t> rebuilding_bytes;  // to read and write where a node is lost
  BadShards bad;
  {
    std::scoped_lock lock(core_.mutex, mutex_);
    const std::uint64_t ran = core_.ran_seconds();
    for (const auto& [id, spec] : core_.tables->nodes()) {
      NodeCare& node = nodes[id];
      node.node = id;
      node.leaving = core_.tables->volume().leaving.contains(id);
      const auto memory = state_.nodes.find(id);
      if (memory == state_.nodes.end()) continue;
      const Reputation& reputation = memory->second.reputation;
      node.trust = reputation.trust();
      node.score = reputation.score();
      node.audits = reputation.answered();
      node.wrong = reputation.wrong_answers();
      node.late = reputation.late_answers();
      node.silent = reputation.silences();
      if (memory->second.away_since) node.away_seconds = ran - std::min(ran, *memory->second.away_since);
    }
    model.node_loss_rate = rounded_up(observed_loss_rate(state_.losses, static_cast<double>(state_.node_seconds)));
    status.waiting_jobs = waiting_jobs_;
    status.no_place = no_place_;
    bad = state_.bad;
  }

  // Segments on the same nodes live or die together: they are one group, counted once.
  std::map<std::pair<Redundancy, std::set<NodeId>>, unsigned> groups;
  std::uint8_t protect_min = 0;
  {
    std::lock_guard lock(core_.mutex);
    for (const auto& [id, row] : core_.tables->segments()) {
      if (!row.has_attempt || row.live_extents == 0) continue;
      const SegmentHealth health = assess(row, known, bad);
      ++status.margins[{Redundancy{row.k, row.n}, health.margin}];
      if (!status.worst_segment || health.margin < status.worst_margin) {
        status.worst_segment = id;
        status.worst_margin = health.margin;
      }
      const std::uint64_t moved = ShardGeometry::of({row.k, row.n}, row.shipped_bytes()).object_bytes() * (row.k + 1u);
      std::set<NodeId> good;
      for (const ShardHome& home : row.placed) {
        rebuilding_bytes[home.node] += moved;
        NodeCare& node = nodes[home.node];
        ++node.shards;
        if (bad.contains({row.attempt, home})) {
          ++node.bad_shards;
          continue;
        }
        const auto fate = known.find(home.node);
        if (fate != known.end() && (fate->second == NodeFate::present || fate->second == NodeFate::leaving)) good.insert(home.node);
      }
      groups.try_emplace({Redundancy{row.k, row.n}, std::move(good)}, row.n - health.good);
    }
    protect_min = core_.tables->volume().protect_min;
  }
  std::vector<PlacementGroup> placements;
  unsigned n_max = 0;
  for (const auto& [key, lost] : groups) {
    const auto& [redundancy, good] = key;
    PlacementGroup group;
    group.k = redundancy.k;
    group.n = redundancy.n;
    group.lost = lost;
    group.repaired_below = repair_below(redundancy.k, std::min(protect_min, redundancy.n), redundancy.n);
    n_max = std::max<unsigned>(n_max, redundancy.n);
    for (const NodeStatus& node : engine->nodes()) {
      if (!good.contains(node.spec.id)) continue;
      for (const auto& [label, value] : node.spec.labels) ++group.in_domain[label + "=" + value];
    }
    placements.push_back(std::move(group));
  }
  std::uint64_t most = 0;
  for (const auto& [node, bytes] : rebuilding_bytes) most = std::max(most, bytes);
  const std::uint64_t bandwidth = std::max<std::uint64_t>(core_.options.care_bandwidth, 1);
  model.domain_loss_rate = domain_losses_a_year / year_seconds;
  model.grace_seconds = static_cast<double>(std::chrono::duration_cast<std::chrono::seconds>(core_.options.repair_grace).count());
  model.transfer_seconds = std::max(transfer_seconds_min, rounded_up(static_cast<double>(most / bandwidth)));
  if (present <= n_max) model.transfer_seconds += person_seconds;
  {
    std::lock_guard lock(estimate_mutex_);
    if (!estimate_ || !(estimate_->model() == model)) estimate_.emplace(model);
    status.yearly_loss = placements.empty() ? least_claimed_loss : std::max(least_claimed_loss, estimate_->loss_within(year_seconds, placements));
    status.safe_days = placements.empty() ? 0 : estimate_->safe_days(placements);
  }
  for (auto& [id, node] : nodes) status.nodes.push_back(node);
  return status;
}

}  // namespace atl
