#include "cache/care/shard_transfer.h"

#include <algorithm>

#include "cache/care/call_results.h"
#include "engine/base/mutant.h"
#include "engine/placement/placement.h"

namespace atl {
namespace {

/// Leaves of each shard that are read at once: half a MiB, which slow lines bring within the engine's patience.
constexpr std::uint32_t window_leaves = 32;
constexpr Duration read_patience = std::chrono::minutes(2);
constexpr Duration store_patience = std::chrono::minutes(10);

bool contains(std::span<const ShardHome> homes, const ShardHome& home) { return std::find(homes.begin(), homes.end(), home) != homes.end(); }

}  // namespace

std::vector<ShardTarget> choose_targets(const TargetChoice& choice, Random& random, bool& no_place) {
  const SegmentRow& row = choice.row;
  std::vector<ShardHome> wanted = choice.job.rebuild;
  wanted.insert(wanted.end(), choice.job.move.begin(), choice.job.move.end());
  std::erase_if(wanted, [&](const ShardHome& home) { return !contains(row.placed, home); });
  const std::uint64_t object_bytes = ShardGeometry::of({row.k, row.n}, row.shipped_bytes()).object_bytes();
  std::vector<PlacementNode> free;
  for (const ShardPlace& place : choice.places) {
    const bool holds = std::any_of(row.placed.begin(), row.placed.end(), [&](const ShardHome& home) { return home.node == place.node.spec.id; });
    const bool takes = place.node.state == NodeState::ok || place.node.state == NodeState::slow;
    if (place.trusted && takes && !holds && place.node.free_bytes > object_bytes)
      free.push_back({place.node.spec.id, &place.node.spec.labels, place.node.free_bytes});
  }
  std::vector<ShardTarget> targets;
  const auto assign = [&](const ShardHome& old, const NodeId& to) {
    targets.push_back({old, to, false, {}});
    std::erase_if(free, [&](const PlacementNode& node) { return node.id == to; });
    std::erase(wanted, old);
  };
  // What an interrupted move had chosen is used again: at most one object a shard is on its way.
  for (const ShardHome& old : std::vector<ShardHome>(wanted)) {
    const auto decided = choice.destinations.find(old);
    for (const PlacementNode& node : std::vector<PlacementNode>(free)) {
      const auto on_its_way = [&](const Stray& stray) { return stray.home == ShardHome{old.shard, node.id}; };
      const bool mine = decided != choice.destinations.end() ? decided->second == node.id : std::any_of(row.strays.begin(), row.strays.end(), on_its_way);
      if (!mine || !choice.usable(old.shard, node.id)) continue;
      assign(old, node.id);
      break;
    }
  }
  if (!choice.destinations.empty()) return targets;
  static const Labels none;
  const auto occupied_by = [&](const NodeId& node) {
    const auto spec = choice.specs.find(node);
    return PlacementNode{node, spec == choice.specs.end() ? &none : &spec->second.labels, 0};
  };
  std::vector<PlacementNode> occupied;
  for (const ShardHome& home : row.placed)
    if (!contains(choice.job.rebuild, home) && !contains(choice.job.move, home)) occupied.push_back(occupied_by(home.node));
  for (const ShardTarget& target : targets) occupied.push_back(occupied_by(target.to));
  std::vector<ShardIndex> shards;
  for (const ShardHome& old : wanted) shards.push_back(old.shard);
  for (const ShardHome& home : place_shards(shards, free, occupied, random, row.k)) {
    const auto old = std::find_if(wanted.begin(), wanted.end(), [&](const ShardHome& item) { return item.shard == home.shard; });
    if (choice.usable(home.shard, home.node)) assign(ShardHome(*old), home.node);
  }
  // Where a stray is in the way of the best spread, any other node will do.
  for (const ShardHome& old : std::vector<ShardHome>(wanted)) {
    const auto other = std::find_if(free.begin(), free.end(), [&](const PlacementNode& node) { return choice.usable(old.shard, node.id); });
    if (other != free.end()) assign(old, NodeId(other->id));
  }
  for (const ShardHome& old : wanted) {
    const bool well = std::any_of(choice.places.begin(), choice.places.end(), [&](const ShardPlace& place) {
      return place.node.spec.id == old.node && place.trusted && (place.node.state == NodeState::ok || place.node.state == NodeState::slow || place.node.state == NodeState::lying);
    });
    if (choice.may_replace && well && choice.bad.contains({row.attempt, old})) {
      targets.push_back({old, old.node, true, {}});
    } else {
      no_place = true;
    }
  }
  return targets;
}

Result<> ShardTransfer::read(const SegmentRow& row, std::span<const ShardHome> copied, const BadShards& bad, std::vector<ShardTarget>& targets, Outcome& outcome) {
  const auto rebuilt = [&](const ShardTarget& target) { return !contains(copied, target.old); };
  for (ShardTarget& target : targets) {
    const auto header = shard_header();
    target.object.assign(header.begin(), header.end());
    target.object.reserve(ShardGeometry::of({row.k, row.n}, row.shipped_bytes()).object_bytes());
  }
  // Once k shards are read for one, all others cost no further reading.
  if (std::any_of(targets.begin(), targets.end(), rebuilt)) return read_windows(row, bad, targets, std::nullopt, outcome);
  for (ShardTarget& target : targets)
    if (auto r = read_windows(row, bad, {&target, 1}, target.old, outcome); !r) return r;
  return {};
}

Result<> ShardTransfer::read_windows(const SegmentRow& row, const BadShards& bad, std::span<ShardTarget> targets,
                                     const std::optional<ShardHome>& wanted, Outcome& outcome) {
  auto made = seams_.keys.macs(row.attempt);
  if (!made) return fail(made.error());
  const auto macs = std::make_shared<const AttemptMacs>(std::move(*made));
  const Redundancy redundancy{row.k, row.n};
  const ShardGeometry geometry = ShardGeometry::of(redundancy, row.shipped_bytes());
  const auto homes = std::make_shared<const std::vector<ShardHome>>(row.placed);
  using Shards = std::vector<std::pair<ShardIndex, Bytes>>;
  Bytes leaves;
  for (std::uint32_t first = 0; first < geometry.leaves; first += window_leaves) {
    const std::uint32_t count = std::min(window_leaves, geometry.leaves - first);
    if (std::none_of(targets.begin(), targets.end(), [&](const ShardTarget& target) { return seams_.still_wanted(target.old); }))
      return fail(Code::cancelled, "the move is not needed any more");
    FetchRequest fetch;
    for (const ShardHome& home : row.placed) {
      if (bad.contains({row.attempt, home})) continue;
      FetchSource source{home, seams_.keys.name(row.attempt, home.shard, home.node)};
      if (wanted == home) {
        fetch.wanted = std::move(source);
      } else {
        fetch.others.push_back(std::move(source));
      }
    }
    fetch.need = row.k;
    fetch.offset = ShardGeometry::leaf_offset(first);
    fetch.length = std::uint64_t{count} * (leaf_bytes + leaf_mac_bytes);
    fetch.verify = [did_not_verify = seams_.did_not_verify, macs, homes, first, count, attempt = row.attempt](ShardIndex shard, ByteView answer) {
      if (macs->verify(shard, first, count, answer) || mutant("rebuilt-from-rot")) return true;
      for (const ShardHome& home : *homes)
        if (home.shard == shard) did_not_verify(attempt, home, first);
      return false;
    };
    const MonotonicTime deadline = runtime_.clock().now() + read_patience;
    fetch.deadline = deadline;
    const auto answer = std::make_shared<CallResults<Shards>>(1);
    fetch.done = [answer](Result<Shards> result) { answer->give(0, std::move(result)); };
    const auto transfer = engine_.fetch(std::move(fetch));
    if (!answer->landed.wait(runtime_, deadline + std::chrono::seconds(5), stop_, [&] { return answer->all(); })) {
      transfer->cancel();
      return fail(Code::cancelled, "reading shards was interrupted");
    }
    std::lock_guard lock(answer->mutex);
    if (!*answer->results[0]) return fail(answer->results[0]->error());
    const Shards& shards = **answer->results[0];
    std::vector<std::pair<ShardIndex, Bytes>> stripped;
    for (const auto& [shard, bytes] : shards) {
      outcome.read_bytes += bytes.size();
      stripped.emplace_back(shard, strip_macs(bytes));
    }
    const std::vector<std::pair<ShardIndex, ByteView>> views(stripped.begin(), stripped.end());
    for (ShardTarget& target : targets) {
      const ShardIndex rebuilt = mutant("rebuilt-as-another") ? ShardIndex(static_cast<std::uint8_t>((target.old.shard.value + 1) % row.n)) : target.old.shard;
      leaves.resize(std::size_t{count} * leaf_bytes);
      if (auto r = rebuild_leaves(redundancy, rebuilt, views, leaves); !r) return r;
      for (std::uint32_t leaf = 0; leaf < count; ++leaf) {
        const ByteView payload = ByteView(leaves).subspan(std::size_t{leaf} * leaf_bytes, leaf_bytes);
        target.object.insert(target.object.end(), payload.begin(), payload.end());
        target.object.resize(target.object.size() + leaf_mac_bytes);
        macs->compute(target.old.shard, first + leaf, payload, std::span<std::uint8_t, leaf_mac_bytes>(target.object.end() - leaf_mac_bytes, leaf_mac_bytes));
      }
    }
  }
  return {};
}

void ShardTransfer::store(const SegmentRow& row, std::vector<ShardTarget>& targets, Outcome& outcome) {
  const auto answer = std::make_shared<CallResults<void>>(targets.size());
  std::vector<std::uint64_t> sizes;
  for (const ShardTarget& target : targets) sizes.push_back(target.object.size());
  Engine* const engine = &engine_;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    ShardTarget& target = targets[i];
    if (!seams_.still_wanted(target.old)) {
      answer->give(i, fail(Code::cancelled, "the move is not needed any more"));
      continue;
    }
    const std::string name = seams_.keys.name(row.attempt, target.old.shard, target.to);
    const auto body = std::make_shared<const Bytes>(std::move(target.object));
    const auto put = [engine, answer, i, name, body, to = target.to] {
      engine->put(to, name, body, [answer, i](Result<> result) { answer->give(i, std::move(result)); });
    };
    if (!target.in_place) {
      put();
      continue;
    }
    // The damaged object has the name that the whole one needs. It is of no use to anybody, so that it goes first.
    engine->remove(target.to, {name}, [answer, i, put](Result<std::size_t> gone) {
      if (gone && *gone == 1) return put();
      answer->give(i, gone ? fail(Code::unavailable, "a damaged shard could not be removed") : fail(gone.error()));
    });
  }
  const MonotonicTime deadline = runtime_.clock().now() + store_patience;
  (void)answer->landed.wait(runtime_, deadline, stop_, [&] { return answer->all(); });
  std::lock_guard lock(answer->mutex);
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (answer->results[i] && !*answer->results[i] && answer->results[i]->error().code == Code::conflict) outcome.taken.push_back({targets[i].old.shard, targets[i].to});
    if (!answer->results[i] || (!*answer->results[i] && !mutant("move-counted-unstored"))) continue;  // tried again by a later job, which finds the intent
    outcome.replaced.push_back(targets[i].old);
    outcome.written_bytes += sizes[i];
  }
}

}  // namespace atl
