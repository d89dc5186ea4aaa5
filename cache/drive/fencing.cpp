// How the publisher learns that another computer has taken the drive over, and what it keeps then.
#include <algorithm>

#include "cache/drive/changes.h"
#include "cache/drive/fenced_note.h"
#include "cache/drive/publisher.h"
#include "cache/heads/fetch_object.h"
#include "engine/base/mutant.h"

namespace atl {
namespace {

constexpr Duration judge_timeout = std::chrono::seconds(20);
constexpr std::size_t ancestors_at_once = 4;

}  // namespace

Result<Bytes> Publisher::fetch(const MetaMirror::Foreign& foreign) {
  Engine* engine = core_.engine.load();
  const std::string text = sealer_->object_name(foreign.name, foreign.node);
  const MonotonicTime deadline = core_.seams.clock.now() + judge_timeout;
  struct Verdict {
    std::mutex mutex;
    std::optional<Result<Bytes>> object;
    Waiters landed;
  };
  const auto verdict = std::make_shared<Verdict>();
  fetch_object(*engine, foreign.node, text, deadline, [sealer = sealer_, name = foreign.name](ByteView bytes) { return sealer->open(name, bytes).has_value(); },
               [verdict](Result<Bytes> object) {
                 {
                   std::lock_guard lock(verdict->mutex);
                   verdict->object = std::move(object);
                 }
                 verdict->landed.wake();
               });
  const bool landed = verdict->landed.wait(core_.seams.runtime, deadline + std::chrono::seconds(1), tasks_.stop_token(), [&] {
    std::lock_guard lock(verdict->mutex);
    return verdict->object.has_value();
  });
  if (!landed) return fail(Code::timed_out, "a node does not give what it told of");
  std::lock_guard lock(verdict->mutex);
  return std::move(*verdict->object);
}

bool Publisher::judge(const MetaMirror::Foreign& foreign) {
  const auto mine = store_->load(foreign.name);
  // Only what this drive's keys sealed counts: a node cannot make a claim up.
  const auto object = fetch(foreign);
  if (!object) return object.error().code == Code::corrupt;
  const auto plain = sealer_->open(foreign.name, *object);
  if (!plain) return true;
  if (foreign.name == MetaName::claim(epoch_) && !own_claim_.empty()) {
    claims_[foreign.node] = *plain;
    judge_claims();
    return true;
  }
  const auto own = mine ? sealer_->open(foreign.name, **mine) : fail(mine.error());
  if (own && *own == *plain) return true;  // the same may have been sealed twice
  std::optional<HistoryPoint> from;
  if (foreign.name.kind == MetaKind::claim) {
    if (const auto claim = decode_claim(*plain)) from = claim->from;
  } else if (!decode_head(*plain, core_.keyring)) {
    return true;
  }
  if (foreign.name.epoch < epoch_) {
    // What an earlier owner shipped to nodes that were away when this computer took over. Nothing of it is touched. Kept
    // here too, so that it is known while those nodes are away; should that fail, it is found again when they are asked.
    (void)forks_store_->save(foreign.name, *object);
    note_fork(foreign.name);
    return true;
  }
  // Heads of whoever claimed this epoch as well, and lost.
  if (foreign.name.epoch == epoch_ && foreign.name.kind == MetaKind::head && (won_ || contested_)) return true;
  if (!mutant("fence-ignored")) fence(foreign.name.epoch, from);
  return true;
}

void Publisher::note_fork(const MetaName& name) {
  if (!forks_.insert(name).second) return;
  ++core_.counters.forks_seen;
  fork_stands_ = true;
  mirror_->keep_everything();
}

void Publisher::gather_ancestors() {
  if (fork_stands_ || contested_ || !counts() || head_->epoch != epoch_ || !mirror_->all_asked()) return;
  bool any = false;
  for (std::size_t i = 0; i < ancestors_at_once; ++i) {
    const auto ancestor = mirror_->take_ancestor();
    if (!ancestor) break;
    const auto known = [&](const std::vector<MetaName>& names) { return std::find(names.begin(), names.end(), ancestor->name) != names.end(); };
    if (known(store_->held()) || known(store_->retired()) || known(forks_store_->held())) continue;
    const auto object = fetch(*ancestor);
    if (!object) continue;  // it lies on other nodes as well, or is told of again by the next run
    any = forks_store_->save(ancestor->name, *object).has_value() || any;
  }
  if (any) retire_old();
}

void Publisher::judge_claims() {
  const std::vector<NodeStatus> nodes = core_.engine.load()->nodes();
  std::map<Bytes, std::size_t> held;
  for (const NodeStatus& node : nodes)
    if (const auto claim = claims_.find(node.spec.id); claim != claims_.end()) ++held[claim->second];
  const bool alone = held.empty() || (held.size() == 1 && held.contains(own_claim_));
  const auto winner = winning_claim(held, nodes.size());
  // While it is open whose the epoch is, nodes are told of nothing but the claim: both sides wait for the others to return.
  contested_ = !alone && !winner;
  mirror_->hold(contested_);
  if (alone || !winner) return;
  if (*winner == own_claim_) {
    won_ = true;
    return;
  }
  const auto theirs = decode_claim(*winner);
  fence(epoch_, theirs ? theirs->from : std::nullopt);
}

Result<std::optional<Lsn>> Publisher::told_upto(const std::optional<HistoryPoint>& from) {
  if (!from) return std::nullopt;
  if (head_ && head_->lsn == from->lsn && head_->chain == from->chain) return from->lsn;
  return committer_.with_journal([&](Journal& journal) { return find_point(journal, *from); });
}

void Publisher::fence(std::uint32_t epoch, const std::optional<HistoryPoint>& from) {
  core_.fence(fenced_error(epoch, core_.directory));
  // What was accepted before stays, durably. Should something here fail, the computer is fenced all the same, and finds
  // it out again at its next start.
  if (auto committed = committer_.commit(); !committed) return;
  if (mutant("fence-forgotten")) return;
  auto told = told_upto(from);
  if (!told) return;
  const Lsn since = told->value_or(head_ ? head_->lsn : Lsn{});
  auto changes = committer_.with_journal([&](Journal& journal) {
    std::lock_guard lock(core_.mutex);
    return collect_changes(journal, since, *core_.tables);
  });
  if (!changes) return;
  Untold& untold = changes->untold;
  if (!*told) untold.complete = false;
  {
    std::lock_guard lock(core_.mutex);
    core_.untold = untold;
  }
  (void)write_fenced_note(core_.seams.disk, core_.directory, {epoch, untold});
}

}  // namespace atl
