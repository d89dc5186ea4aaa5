#include "cache/recovery/fork.h"

#include <algorithm>

#include "cache/drive/changes.h"
#include "cache/recovery/node_answers.h"

namespace atl {
namespace {

constexpr Duration close_bound = std::chrono::seconds(30);

}  // namespace

Result<std::vector<KnownFork>> survey_forks(DriveSeams seams, Engine& engine, const std::vector<NodeSpec>& nodes, const Keyring& keyring,
                                            Duration patience) {
  auto sealer = MetaSealer::make(keyring);
  if (!sealer) return fail(sealer.error());
  const auto opener = std::make_shared<const MetaSealer>(std::move(*sealer));
  auto claims = survey_claims(seams, engine, nodes, keyring, 0, patience);
  if (!claims) return fail(claims.error());
  std::map<std::uint32_t, HistoryPoint> gone_on;  // epoch -> the newest of its heads that somebody went on from
  std::uint32_t newest = 0;
  for (const auto& [epoch, claim] : *claims) {
    newest = std::max(newest, epoch);
    if (!claim.from) continue;
    HistoryPoint& point = gone_on.try_emplace(claim.from->epoch, *claim.from).first->second;
    if (claim.from->generation > point.generation) point = *claim.from;
  }
  std::map<MetaName, std::vector<NodeSpec>> holders;
  for (const NodeSpec& node : nodes) {
    auto names = list_all(seams, engine, node.id, opener->head_prefix(node.id), seams.clock.now() + patience);
    for (const std::string& text : names ? *names : std::vector<std::string>())
      if (const auto name = opener->parse_head(text, node.id)) holders[*name].push_back(node);
  }
  std::map<std::uint32_t, KnownFork> found;
  for (auto head = holders.rbegin(); head != holders.rend(); ++head) {
    const MetaName name = head->first;
    if (found.contains(name.epoch)) continue;
    for (const NodeSpec& node : head->second) {
      auto object = fetch_now(seams, engine, node.id, opener->object_name(name, node.id), seams.clock.now() + patience,
                              [opener, name](ByteView bytes) { return opener->open(name, bytes).has_value(); });
      auto plain = object ? opener->open(name, *object) : fail(object.error());
      auto decoded = plain ? decode_head(*plain, keyring) : fail(plain.error());
      if (!decoded || decoded->name() != name) continue;  // what a node makes up does not open
      KnownFork fork;
      fork.head = std::move(*decoded);
      if (const auto point = gone_on.find(name.epoch); point != gone_on.end()) fork.parting = point->second;
      fork.nodes = head->second;
      newest = std::max(newest, name.epoch);
      found.emplace(name.epoch, std::move(fork));
      break;
    }
  }
  std::vector<KnownFork> forks;
  for (auto& [epoch, fork] : found)
    if (epoch != newest && (!fork.parting || fork.head.generation > fork.parting->generation)) forks.push_back(std::move(fork));
  // The epoch that was claimed last may have told of nothing yet: then it is what it went on from.
  return forks;
}

Result<BroughtFork> bring_fork(DriveSeams seams, Drive& drive, const KnownFork& fork, const std::string& scratch, const Keyring& keyring,
                               Engine& engine, const std::vector<NodeSpec>& nodes, const std::string& folder, Duration patience) {
  if (auto rebuilt = rebuild_state(seams, scratch, engine, fork.head, keyring, nodes, patience, {}); !rebuilt) return fail(rebuilt.error());
  DriveOptions read_only;
  read_only.read_only = true;
  auto opened = Drive::open(seams, scratch, keyring, read_only);
  if (!opened) return fail(opened.error());
  const std::unique_ptr<Drive> other = std::move(*opened);
  other->start(engine);  // its bytes lie on nodes
  BroughtFork result;
  std::optional<Changes> beyond;
  if (fork.parting) {
    auto changes = changes_since(*other, *fork.parting);
    if (!changes) return fail(changes.error());
    if (changes->untold.complete) beyond = std::move(*changes);
  }
  result.parting_known = beyond.has_value();
  auto brought = bring_over(*other, drive, folder, beyond_parting(beyond, drive), {});
  if (!brought) return fail(brought.error());
  result.brought = std::move(*brought);
  if (auto committed = drive.commit(); !committed) return fail(committed.error());
  if (auto closed = other->close(close_bound); !closed) return fail(closed.error());
  return result;
}

}  // namespace atl
