#include "cache/care/strays.h"

#include "cache/erasure/shard_codec.h"
#include "engine/base/mutant.h"

namespace atl {
namespace {

constexpr Duration object_wait = std::chrono::seconds(60);

}  // namespace

bool StraySweeper::over(const Stray& stray) const {
  const auto grace = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(core_.options.gc_grace).count());
  return stray.since_seconds + grace <= core_.ran_seconds();
}

bool StraySweeper::due_left() {
  std::lock_guard lock(core_.mutex);
  for (const auto& [id, row] : core_.tables->segments())
    for (const Stray& stray : row.strays)
      if (over(stray)) return true;
  return false;
}

Result<> StraySweeper::sweep() {
  Engine* engine = core_.engine.load();
  if (engine == nullptr) return {};
  std::vector<Place> due;
  {
    std::lock_guard lock(core_.mutex);
    if (core_.refusal()) return {};
    const Lsn published = core_.published_lsn.load();
    std::map<Place, Lsn> seen;
    for (const auto& [id, row] : core_.tables->segments()) {
      for (const Stray& stray : row.strays) {
        const Place place(id, row.attempt, stray.home);
        const auto before = seen_.find(place);
        const Lsn since = before == seen_.end() ? core_.telling_lsn : before->second;
        seen.emplace(place, since);
        if (over(stray) && (since <= published || mutant("stray-of-a-head")) && !core_.in_care.contains(id)) due.push_back(place);
      }
    }
    seen_ = std::move(seen);
    if (due.empty()) return {};
    // After a crash the drive must know at least so many running seconds: what is on its way out is no place to go to.
    core_.log(RanFor{core_.ran_seconds()});
    for (const auto& [segment, attempt, home] : due) core_.strays_going.insert(segment);
  }
  const auto let_go = [&] {
    std::lock_guard lock(core_.mutex);
    for (const auto& [segment, attempt, home] : due) core_.strays_going.erase(segment);
  };
  auto name_key = core_.keyring.derive(KeyEpoch{1}, KeyPurpose::object_name);
  Result<> ready = committer_.commit();
  if (ready && !name_key) ready = fail(name_key.error());
  if (!ready) {
    let_go();
    return ready;
  }
  std::map<NodeId, std::vector<Place>> by_node;
  for (const Place& place : due) by_node[std::get<2>(place).node].push_back(place);
  struct Pending {
    std::mutex mutex;
    std::map<NodeId, std::size_t> gone;  // from the front
    std::size_t missing = 0;
    Waiters landed;
  };
  const auto pending = std::make_shared<Pending>();
  pending->missing = by_node.size();
  for (const auto& [node, places] : by_node) {
    std::vector<std::string> names;
    for (const auto& [segment, attempt, home] : places) names.push_back(shard_object_name(*name_key, attempt, home.shard, home.node));
    engine->remove(node, std::move(names), [pending, node_id = node](Result<std::size_t> removed) {
      {
        std::lock_guard lock(pending->mutex);
        pending->gone[node_id] = removed ? *removed : 0;
        --pending->missing;
      }
      pending->landed.wake();
    });
  }
  pending->landed.wait(core_.seams.runtime, core_.seams.clock.now() + object_wait, tasks_.stop_token(), [&] {
    std::lock_guard lock(pending->mutex);
    return pending->missing == 0;
  });
  {
    std::scoped_lock lock(core_.mutex, pending->mutex);
    if (!core_.refusal()) {
      for (const auto& [node, places] : by_node) {
        for (std::size_t i = 0; i < std::min(pending->gone[node], places.size()); ++i) {
          const auto& [segment, attempt, home] = places[i];
          core_.log(StrayRemoved{segment, attempt, home});
          ++core_.counters.objects_removed;
        }
      }
    }
    for (const auto& [segment, attempt, home] : due) core_.strays_going.erase(segment);
  }
  return {};
}

}  // namespace atl
