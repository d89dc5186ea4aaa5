#include "cache/recovery/take_over.h"

#include <algorithm>

#include "cache/drive/attempts.h"
#include "cache/drive/changes.h"
#include "cache/drive/fenced_note.h"
#include "cache/drive/paths.h"
#include "cache/heads/head_store.h"

namespace atl {
namespace {

constexpr Duration close_bound = std::chrono::seconds(30);

/// What the old drive holds beyond the last point that it shares with the nodes' history. Absent if that is not known.
Result<std::optional<Changes>> since_parting(DriveSeams seams, Drive& drive, const std::string& old, Engine& engine, const std::vector<NodeSpec>& nodes,
                                             const Keyring& keyring, Duration patience) {
  auto own = claimed_epoch(seams.disk, heads_directory(old));
  if (!own) return fail(own.error());
  auto claims = survey_claims(seams, engine, nodes, keyring, *own, patience);
  if (!claims) return fail(claims.error());
  std::optional<Changes> best;
  for (const auto& [epoch, claim] : *claims) {
    if (!claim.from) continue;
    auto changes = changes_since(drive, *claim.from);
    if (!changes) return fail(changes.error());
    if (changes->untold.complete && (!best || changes->untold.changes < best->untold.changes)) best = std::move(*changes);
  }
  return best;
}

/// Heads before the one that is gone on from, which the old computer told nodes of or knew, are to leave the nodes once the
/// new state counts. One that cannot be read here stays there.
Result<> pass_heads_on(DriveSeams seams, const std::string& old, const std::string& fresh, const MetaName& from_head) {
  auto to = HeadStore::open(seams.disk, forks_directory(fresh));
  if (!to) return fail(to.error());
  auto kept = HeadStore::open(seams.disk, heads_directory(fresh));
  if (!kept) return fail(kept.error());
  const auto stays = (*kept)->held();
  for (const std::string& folder : {heads_directory(old), forks_directory(old)}) {
    auto from = HeadStore::open(seams.disk, folder);
    if (!from) return fail(from.error());
    for (const MetaName& name : (*from)->held()) {
      if (name.kind != MetaKind::head || name >= from_head || std::find(stays.begin(), stays.end(), name) != stays.end()) continue;
      auto object = (*from)->load(name);
      if (!object) continue;
      if (auto saved = (*to)->save(name, **object); !saved) return saved;
    }
  }
  return {};
}

}  // namespace

Result<std::optional<TakenOver>> take_over_in_place(DriveSeams seams, const std::string& state, const Keyring& keyring, Engine& engine,
                                                    const std::vector<NodeSpec>& nodes, const HeadSurvey& survey, Duration patience) {
  if (!survey.head) return fail(Code::too_few_nodes, "no node gives the drive's state", "bring nodes back");
  const HistoryPoint point = HistoryPoint::of(*survey.head);
  {
    DriveOptions read_only;
    read_only.read_only = true;
    auto opened = Drive::open(seams, state, keyring, read_only);
    if (!opened) return fail(opened.error());
    auto beyond = changes_since(**opened, point);
    if (!beyond) return fail(beyond.error());
    if (!beyond->untold.complete) return std::optional<TakenOver>();
    if (auto closed = (*opened)->close(close_bound); !closed) return fail(closed.error());
  }
  TakenOver taken;
  auto claim = claim_epoch(seams, state, engine, nodes, keyring, survey.epoch_max + 1, point, patience);
  if (!claim) return fail(claim.error());
  taken.in_place = true;
  taken.claim = *claim;
  if (auto forgotten = remove_fenced_note(seams.disk, state); !forgotten) return fail(forgotten.error());
  return std::optional(std::move(taken));
}

Result<TakenOver> take_over(DriveSeams seams, const std::string& old, const std::string& fresh, const Keyring& keyring, Engine& engine,
                            const std::vector<NodeSpec>& nodes, const HeadSurvey& survey, const std::string& host, Duration patience,
                            const std::function<void(const Brought&)>& progress) {
  // The nodes' newest state may be one that this computer had: it goes on from where it is, and tells them the rest.
  auto stayed = take_over_in_place(seams, old, keyring, engine, nodes, survey, patience);
  if (!stayed) return fail(stayed.error());
  if (*stayed) return std::move(**stayed);
  const Head& head = *survey.head;
  const HistoryPoint point = HistoryPoint::of(head);
  TakenOver taken;
  DriveOptions read_only;
  read_only.read_only = true;
  auto opened = Drive::open(seams, old, keyring, read_only);
  if (!opened) return fail(opened.error());
  const std::unique_ptr<Drive> was = std::move(*opened);
  was->start(engine);  // some of it may lie on nodes only
  auto parting = since_parting(seams, *was, old, engine, nodes, keyring, patience);
  if (!parting) return fail(parting.error());
  taken.parting_known = parting->has_value();
  if (auto rebuilt = rebuild_state(seams, fresh, engine, head, keyring, nodes, patience, {}); !rebuilt) return fail(rebuilt.error());
  auto claim = claim_epoch(seams, fresh, engine, nodes, keyring, survey.epoch_max + 1, point, patience);
  if (!claim) return fail(claim.error());
  taken.claim = *claim;
  DriveOptions roomy;  // nothing is shipped before the folders are swapped: all of it waits here
  roomy.staging_max = std::uint64_t{1} << 60;
  auto made = Drive::open(seams, fresh, keyring, roomy);
  if (!made) return fail(made.error());
  const std::unique_ptr<Drive> now = std::move(*made);
  auto brought = bring_over(*was, *now, "Recovered from " + host, beyond_parting(std::move(*parting), *now), progress);
  if (!brought) return fail(brought.error());
  taken.brought = std::move(*brought);
  if (taken.brought.partly.empty()) {
    // All that the old folder had is in the new one, so that nobody goes back to it.
    if (auto discarded = discard_attempts(*now, *was); !discarded) return fail(discarded.error());
    if (auto passed = pass_heads_on(seams, old, fresh, head.name()); !passed) return fail(passed.error());
  }
  if (auto committed = now->commit(); !committed) return fail(committed.error());
  if (auto closed = now->close(close_bound); !closed) return fail(closed.error());
  if (auto closed = was->close(close_bound); !closed) return fail(closed.error());
  return taken;
}

}  // namespace atl
