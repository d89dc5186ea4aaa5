#include "cache/drive/publisher.h"

#include <algorithm>

#include "cache/drive/paths.h"
#include "engine/base/mutant.h"

namespace atl {
namespace {

/// Below, no new checkpoint is worth its bytes, not even for who asks for space.
constexpr std::uint64_t condense_bytes_min = 64u << 10;
constexpr std::ptrdiff_t heads_kept = 3;
constexpr std::size_t told_max = 4096;
/// A cut that could not be completed for so long is given up: what it pins takes room here.
constexpr Duration making_max = std::chrono::minutes(2);
/// Shards beyond r that nothing new comes after are told of after so long.
constexpr Duration placed_untold_max = std::chrono::minutes(2);
constexpr Duration judging_max = std::chrono::seconds(30);

}  // namespace

Result<> Publisher::load() {
  auto sealer = MetaSealer::make(core_.keyring);
  if (!sealer) return fail(sealer.error());
  sealer_ = std::make_shared<const MetaSealer>(std::move(*sealer));
  auto store = HeadStore::open(core_.seams.disk, heads_directory(core_.directory));
  if (!store) return fail(store.error());
  store_ = std::move(*store);
  auto forks = HeadStore::open(core_.seams.disk, forks_directory(core_.directory));
  if (!forks) return fail(forks.error());
  forks_store_ = std::move(*forks);
  for (const MetaName& name : store_->held())
    if (name.kind == MetaKind::claim) epoch_ = std::max(epoch_, name.epoch);
  auto newest = newest_head(*store_, *sealer_, core_.keyring);
  if (newest && *newest) {
    head_ = std::move(**newest);
    // A head of an earlier life of this journal names another history than the one at hand: a new checkpoint tells it.
    want_checkpoint_ = head_->lsn > core_.last_lsn;
  } else if (!newest && newest.error().code != Code::corrupt) {
    return fail(newest.error());
  } else {
    want_checkpoint_ = true;
  }
  device_ = core_.seams.random.id<DeviceId>();
  if (head_ && head_->epoch == epoch_) device_ = head_->device;
  {
    std::lock_guard lock(core_.mutex);
    if (!head_ || head_->lsn < core_.last_lsn) {
      core_.telling_lsn = core_.last_lsn;
      core_.untold_since = core_.seams.clock.now();
    } else {
      core_.telling_lsn = head_->lsn;
    }
    core_.told_last = core_.seams.clock.now();
  }
  if (head_) {
    told_.emplace(head_->name(), Told{head_->lsn, head_->lsn});
    placed_told_ = head_->lsn;
  }
  mirror_ = std::make_unique<MetaMirror>(core_, *store_, sealer_, epoch_, [this] { pump(); });
  if (const auto object = store_->load(MetaName::claim(epoch_))) {
    if (auto plain = sealer_->open(MetaName::claim(epoch_), **object)) {
      own_claim_ = std::move(*plain);
      const auto claim = decode_claim(own_claim_);
      if (claim && claim->from) {
        from_ = MetaName::head(claim->from->epoch, claim->from->generation);
        mirror_->watch_forks(from_);
      }
    }
  }
  // Seen by an earlier run, on nodes that may be away now.
  for (const MetaName& name : forks_store_->held())
    if (name.epoch < epoch_ && name > from_ && from_.generation != 0) note_fork(name);
  return {};
}

void Publisher::start() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = false;
  }
  tell_mirror();
  pump();
}

void Publisher::stop() {
  if (mirror_) mirror_->stop();
  std::lock_guard lock(mutex_);
  stopped_ = true;
}

void Publisher::hurry() {
  {
    std::lock_guard lock(mutex_);
    hurried_ = true;
  }
  pump();
}

void Publisher::pump() {
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return;
    again_ = true;
    if (std::exchange(running_, true)) return;
  }
  tasks_.post([this] {
    for (;;) {
      {
        std::lock_guard lock(mutex_);
        if (stopped_ || !std::exchange(again_, false)) {
          running_ = false;
          return;
        }
      }
      try {
        round();
      } catch (const IndexFailure& failure) {
        std::lock_guard lock(core_.mutex);
        core_.fail_stop(failure.error());
      }
    }
  });
}

Publisher::Standing Publisher::standing() const {
  Standing standing;
  if (!mirror_) return standing;
  standing.nodes = mirror_->count();
  standing.requests = mirror_->requests();
  standing.stale = mirror_->stale();
  standing.contested = contested_.load();
  std::lock_guard lock(head_mutex_);
  standing.epoch = epoch_;
  standing.generation = head_ ? head_->generation : 0;
  return standing;
}

void Publisher::round() {
  const auto fenced = [this] {
    std::lock_guard lock(core_.mutex);
    return core_.fenced.has_value();
  };
  // All of it before anything else is told to nodes; but a node that hangs must not hold the drive up for ever.
  const MonotonicTime judged_until = core_.seams.clock.now() + judging_max;
  while (!fenced() && core_.seams.clock.now() < judged_until) {
    const auto foreign = mirror_->take_foreign();
    if (!foreign) break;
    mirror_->judged(*foreign, judge(*foreign));
  }
  {
    std::lock_guard lock(core_.mutex);
    if (core_.fenced) {
      core_.pins.reset();
      core_.tables->watch_deaths({});
      return mirror_->stop();
    }
  }
  if (making_) {
    const auto ready = protected_now();
    if (!ready || core_.seams.clock.now() - making_->begun > making_max) {
      give_up();
    } else if (*ready) {
      // A failure here is the local disk's; what was saved is safe, and the next round tries again.
      if (auto r = finish(); !r) give_up();
    }
  }
  if (!making_ && due()) {
    if (auto r = begin(); !r) give_up();
  }
  // Where a head is in the making, it carries what a batch lacks.
  if (!making_) mirror_->open_batches();
  mirror_->step();
  count_holders();
  gather_ancestors();
  core_.changed.wake();
}

Result<> Publisher::condense(MonotonicTime deadline, const std::stop_token& stop) {
  {
    std::lock_guard lock(mutex_);
    condensing_ = true;
  }
  hurry();
  const auto done = [this] {
    {
      std::lock_guard lock(mutex_);
      if (condensing_) return false;
    }
    std::lock_guard lock(head_mutex_);
    return counts() && mirror_->count().litter == 0;
  };
  if (core_.changed.wait(core_.seams.runtime, deadline, stop, done)) return {};
  if (stop.stop_requested()) return fail(Code::cancelled, "gc was interrupted");
  return fail(Code::too_few_nodes, "the nodes' copies of the journal could not be replaced by a shorter one now", "see `atoll status` for the nodes");
}

bool Publisher::worth_condensing() const {
  if (!head_) return false;
  std::uint64_t stretches = 0;
  for (const Stretch& stretch : head_->stretches) stretches += stretch.bytes;
  return stretches > std::max(condense_bytes_min, head_->checkpoint_bytes);
}

bool Publisher::tells_full(Lsn changes, Lsn placed) const {
  return full_lsn_.load() >= changes && (full_placed_lsn_.load() >= placed || mutant("full-untold"));
}

bool Publisher::placements_due(bool hurried) {
  std::lock_guard lock(core_.mutex);
  if (core_.placed_lsn <= placed_told_) return false;
  // Where saves go on, the next head carries them.
  return hurried || core_.seams.clock.now() - core_.placed_last >= std::max(placed_untold_max, 2 * core_.options.ship_interval);
}

bool Publisher::due() {
  if (contested_) return false;
  const MetaMirror::Count nodes = mirror_->count();
  // Heads that nobody takes would only pile up; and what nodes hold must be known before a generation is chosen.
  if (nodes.nodes == 0 || nodes.reachable < nodes_needed(nodes.nodes, SyncLevel::protected_)) return false;
  const bool own = head_ && head_->epoch == epoch_;
  bool hurried = false;
  {
    std::lock_guard lock(mutex_);
    hurried = hurried_;
  }
  if (hurried && own && !counts()) mirror_->rush();
  const auto batch = mirror_->batch_due();
  const bool placed = placements_due(hurried);
  if (nodes.open == 0 && !batch && !hurried && !placed) return false;
  if (own && !counts()) {
    // Only nodes that wait for their batch may be passed by a newer head: they get that one.
    const std::size_t waiting = nodes.reachable - nodes.holders - nodes.lacking;
    if (nodes.lacking > 0 || waiting == 0 || nodes.holders + waiting < nodes_needed(nodes.nodes, SyncLevel::protected_)) return false;
    if (nodes.holders == 0 && !batch) return false;
  }
  {
    std::lock_guard lock(mutex_);
    if (condensing_) {
      want_checkpoint_ = want_checkpoint_ || worth_condensing();
      if (want_checkpoint_) return true;
      condensing_ = false;
    }
  }
  std::lock_guard lock(core_.mutex);
  if (core_.trouble || core_.fenced) return false;
  const bool dirty = !core_.dirty.empty();
  if (own && core_.telling_lsn <= head_->lsn && !dirty && !placed) {
    if (counts()) {
      std::lock_guard flags(mutex_);
      if (std::exchange(hurried_, false)) pace_.forget();
    }
    return batch && !batch->single && lacked_from(*head_) < head_->stretches.size();
  }
  if (hurried) {
    pace_.forget();
    return true;
  }
  if (placed) return true;
  const MonotonicTime now = core_.seams.clock.now();
  if (!core_.untold_since) return !head_ || head_->epoch != epoch_;
  paced_ = pace_.is_due({*core_.untold_since, core_.told_last, core_.writer->filled() > filled_told_}, now);
  return paced_;
}

Result<> Publisher::begin() {
  if (!head_ && !want_checkpoint_) want_checkpoint_ = true;
  const Lsn first_held = committer_.with_journal([](Journal& journal) { return journal.first(); });
  if (head_ && first_held > head_->lsn.next()) want_checkpoint_ = true;
  if (want_checkpoint_) {
    if (auto r = committer_.commit(); !r) return r;
    if (auto r = checkpointer_.run(); !r) return r;
    // A head's journal goes on behind its checkpoint by at least one batch, which proves the chain there.
    std::lock_guard lock(core_.mutex);
    if (auto refused = core_.refusal()) return fail(*refused);
    core_.log(RanFor{core_.ran_seconds()});
  }
  Making making;
  making.begun = core_.seams.clock.now();
  filled_told_ = core_.writer->filled();
  auto mark = committer_.mark([&] {
    // The state lock is held, and the state is the one that the cut stands for.
    Pins pins;
    for (const auto& [id, row] : core_.tables->segments()) {
      if (row.live_extents == 0) continue;
      if (core_.tables->volume().is_protected(row)) {
        if (!row.full()) making.filling.emplace(id, row.placed.size());
        continue;
      }
      pins.segments.insert(id);
      making.segments[id] = {row.finished, row.has_attempt ? std::optional(row.attempt) : std::nullopt};
    }
    core_.pins = std::move(pins);
    core_.tables->watch_deaths([this](const ExtentRow& last) {
      if (core_.pinned(last.segment)) core_.pins->died[last.segment][last.offset] = frame_bytes(last.length);
    });
    if (core_.untold_since || cut_given_up_) {
      const MonotonicTime since = std::min(core_.untold_since.value_or(MonotonicTime::max()), cut_given_up_.value_or(MonotonicTime::max()));
      unshipped_.emplace(core_.last_lsn, since);
    }
    cut_given_up_.reset();
    core_.untold_since.reset();
  });
  if (!mark) return fail(mark.error());
  making.mark = *mark;
  making_ = std::move(making);
  {
    std::lock_guard lock(mutex_);
    making_->hurried = std::exchange(hurried_, false);  // whoever was in a hurry before the cut is served by it
  }
  if (std::exchange(paced_, false)) pace_.shipped(making_->begun);
  shipper_.finish_open();
  return {};
}

void Publisher::give_up() {
  pace_.forget();
  std::lock_guard lock(core_.mutex);
  if (making_) {
    if (const auto cut = unshipped_.find(making_->mark.lsn); cut != unshipped_.end()) {
      cut_given_up_ = cut->second;
      unshipped_.erase(cut);
    }
  }
  making_.reset();
  core_.pins.reset();
  core_.tables->watch_deaths({});
  if (!core_.untold_since) core_.untold_since = core_.told_last = core_.seams.clock.now();
}

std::optional<bool> Publisher::protected_now() {
  std::lock_guard lock(core_.mutex);
  if (core_.trouble || core_.fenced) return std::nullopt;
  for (const auto& [id, at] : making_->segments) {
    const auto found = core_.tables->segments().find(id);
    if (found == core_.tables->segments().end()) return std::nullopt;
    if (!core_.tables->volume().is_protected(found->second)) return false;
  }
  return true;
}

void Publisher::tell_mirror() {
  if (!head_) return;
  std::vector<MetaName> wanted = head_->needs();
  if (store_->load(MetaName::claim(epoch_))) wanted.insert(wanted.begin(), MetaName::claim(epoch_));
  wanted.push_back(head_->name());
  mirror_->want(std::move(wanted), head_->name());
}

std::size_t Publisher::nodes_needed(std::size_t nodes, SyncLevel level) {
  std::lock_guard lock(core_.mutex);
  const VolumeRow& volume = core_.tables->volume();
  const std::size_t shards = level == SyncLevel::full ? volume.n : volume.protect_min;
  const std::size_t lost = shards > volume.k ? shards - volume.k : 0u;
  return std::max(nodes / 2 + 1, std::min(nodes, lost + 1));
}

MonotonicTime Publisher::unshipped_since() const {
  if (!unshipped_.empty()) return unshipped_.begin()->second;
  return cut_given_up_.value_or(core_.untold_since.value_or(core_.told_last));
}

void Publisher::count_holders() {
  if (!head_ || (counts() && tells_full(head_->lsn, placed_told_))) return;
  const MetaMirror::Count nodes = mirror_->count();
  const auto full = told_.find(nodes.held_by(nodes_needed(nodes.nodes, SyncLevel::full)));
  if (full != told_.end() && !tells_full(full->second.changes, full->second.placed)) {
    full_lsn_ = full->second.changes;
    full_placed_lsn_ = full->second.placed;
    core_.changed.wake();
  }
  const MetaName held = nodes.held_by(mutant("head-counts-on-one") ? 1 : nodes_needed(nodes.nodes, SyncLevel::protected_));
  const auto told = told_.find(held);
  if (held <= counted_ || told == told_.end()) return;
  {
    std::lock_guard lock(head_mutex_);
    counted_ = held;
  }
  core_.published_lsn = told->second.changes;
  {
    std::lock_guard lock(core_.mutex);
    unshipped_.erase(unshipped_.begin(), unshipped_.upper_bound(told->second.changes));
  }
  const auto passed = [this](const Told& head) { return tells_full(head.changes, head.placed); };
  while (told_.size() > told_max || (told_.begin()->first < held && passed(told_.begin()->second))) told_.erase(told_.begin());
  mirror_->counted(held);
  retire_old();
  core_.changed.wake();
  pump();
}

void Publisher::retire_old() {
  if (fork_stands_) return;
  const auto held = store_->held();
  std::vector<MetaName> heads;
  for (const MetaName& name : held)
    if (name.kind == MetaKind::head) heads.push_back(name);
  const auto read = [this](const MetaName& name) -> Result<Head> {
    auto object = store_->load(name);
    auto plain = object ? sealer_->open(name, **object) : fail(object.error());
    return plain ? decode_head(*plain, core_.keyring) : fail(plain.error());
  };
  const auto counted = std::find(heads.begin(), heads.end(), counted_);
  if (counted == heads.end()) return;
  const auto that_counts = read(counted_);
  if (!that_counts) return;
  // The newest may not count yet, and rests on what those before it told.
  std::set<MetaName> keep;
  for (auto name = counted - std::min<std::ptrdiff_t>(counted - heads.begin(), heads_kept - 1); name != heads.end(); ++name) {
    const auto head = read(*name);
    if (!head) return;  // what it needs is not known: nothing goes
    // Heads of an earlier checkpoint have done their duty: the one that counts needs none of theirs.
    if (name < counted && head->checkpoint_parts != that_counts->checkpoint_parts) continue;
    keep.insert(*name);
    for (const MetaName& needed : head->needs()) keep.insert(needed);
  }
  for (const MetaName& name : held)
    if (name.kind != MetaKind::claim && !keep.contains(name)) (void)store_->retire(name);  // tried again after the next head
  // Of others, which a head of this epoch that counts has made superfluous.
  if (counted_.epoch != epoch_) return;
  for (const MetaName& name : forks_store_->held()) {
    auto object = forks_store_->load(name);
    auto plain = object ? sealer_->open(name, **object) : fail(object.error());
    const auto head = plain ? decode_head(*plain, core_.keyring) : fail(plain.error());
    bool known = true;  // here, so that it leaves the nodes
    for (const MetaName& gone : head ? head->needs() : std::vector<MetaName>())
      if (!keep.contains(gone)) known = store_->retire(gone) && known;
    known = store_->retire(name) && known;
    if (known) (void)forks_store_->forget(name);  // else, and if it stays here, it is retired once more after the next head
  }
}

}  // namespace atl
