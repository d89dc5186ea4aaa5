#include "cache/care/shard_mover.h"

#include <algorithm>

#include "cache/keys/keyring_shard_keys.h"
#include "engine/base/mutant.h"

namespace atl {

std::unique_ptr<CaredSegment> CaredSegment::claim(DriveCore& core, Shipper& shipper, SegmentId segment, const AttemptId& attempt) {
  std::lock_guard lock(core.mutex);
  const auto found = core.tables->segments().find(segment);
  const bool busy = found == core.tables->segments().end() || !found->second.has_attempt || found->second.attempt != attempt ||
                    found->second.live_extents == 0 || core.strays_going.contains(segment) || shipper.in_flight(segment) ||
                    !core.in_care.insert(segment).second;
  if (busy) return nullptr;
  return std::unique_ptr<CaredSegment>(new CaredSegment(core, segment, found->second));
}

CaredSegment::~CaredSegment() {
  {
    std::lock_guard lock(core_.mutex);
    core_.in_care.erase(segment_);
  }
  core_.changed.wake();
}

Result<ShardMover::Outcome> ShardMover::run(const Request& request) {
  Outcome outcome;
  const SegmentId segment = request.job.segment;
  const auto keys = KeyringShardKeys::make(core_.keyring);
  if (!keys) return fail(keys.error());
  {
    std::lock_guard lock(core_.mutex);
    if (auto refused = core_.refusal()) return fail(*refused);
  }
  const auto claim = CaredSegment::claim(core_, shipper_, segment, request.job.attempt);
  outcome.busy = claim == nullptr;
  if (outcome.busy) return outcome;
  const SegmentRow& row = claim->row();
  std::vector<ShardTarget> targets = choose(request, row, outcome);
  if (targets.empty()) return outcome;
  {
    std::lock_guard lock(core_.mutex);
    if (auto refused = core_.refusal()) return fail(*refused);
    for (const ShardTarget& target : targets)
      if (!target.in_place) core_.log(ShardMoving{segment, row.attempt, {target.old.shard, target.to}, core_.ran_seconds()});
  }
  // Durable before the first byte leaves: whatever comes to lie on nodes can be found again.
  if (auto r = mutant("move-unintended") ? Result<>() : committer_.commit(); !r) return fail(r.error());
  const auto did_not_verify = [&core = core_](const AttemptId& attempt, const ShardHome& home, std::uint32_t leaf) { core.suspect({attempt, home, leaf}); };
  ShardTransfer transfer(*core_.engine.load(), core_.seams.runtime, tasks_.stop_token(), {*keys, request.still_wanted, did_not_verify});
  ShardTransfer::Outcome moved;
  if (auto r = transfer.read(row, request.job.move, *request.bad, targets, moved); !r) return fail(r.error());
  transfer.store(row, targets, moved);
  // Whoever put something else under that name: a later job finds the name free.
  for (const ShardHome& place : moved.taken)
    core_.engine.load()->remove(place.node, {keys->name(row.attempt, place.shard, place.node)}, [](Result<std::size_t>) {});
  {
    std::lock_guard lock(core_.mutex);
    if (auto refused = core_.refusal()) return fail(*refused);
    for (const ShardTarget& target : targets) {
      const bool done = std::find(moved.replaced.begin(), moved.replaced.end(), target.old) != moved.replaced.end();
      if (done && !target.in_place)
        core_.log(ShardMoved{segment, row.attempt, target.old.shard, target.old.node, target.to, core_.ran_seconds()});
    }
  }
  outcome.replaced = std::move(moved.replaced);
  outcome.read_bytes = moved.read_bytes;
  outcome.written_bytes = moved.written_bytes;
  if (auto r = committer_.commit(); !r) return fail(r.error());
  return outcome;
}

std::vector<ShardTarget> ShardMover::choose(const Request& request, const SegmentRow& row, Outcome& outcome) {
  std::uint64_t grace = 0;
  std::uint64_t now = 0;
  std::map<NodeId, NodeSpec> specs;
  {
    std::lock_guard lock(core_.mutex);
    grace = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(core_.options.gc_grace).count());
    now = core_.ran_seconds();
    specs = core_.tables->nodes();
  }
  // An old stray may be on its way out: nothing comes to lie under its name until it is gone.
  const auto usable = [&](ShardIndex shard, const NodeId& node) {
    const auto stray = std::find_if(row.strays.begin(), row.strays.end(), [&](const Stray& item) { return item.home == ShardHome{shard, node}; });
    return stray == row.strays.end() || stray->since_seconds + grace > now;
  };
  const TargetChoice choice{row, request.job, specs, request.nodes, *request.bad, request.destinations, usable, true};
  return choose_targets(choice, core_.seams.random, outcome.no_place);
}

}  // namespace atl
