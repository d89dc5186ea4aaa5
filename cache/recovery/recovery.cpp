#include "cache/recovery/recovery.h"

#include <algorithm>

#include "cache/drive/core.h"
#include "cache/drive/paths.h"
#include "cache/heads/head_store.h"
#include "cache/heads/stretch.h"
#include "cache/recovery/node_answers.h"
#include "engine/base/mutant.h"

namespace atl {
namespace {

/// Heads of one node that are tried before it counts as wrong: the last few are kept, older ones are in the way only
/// where a node lies.
constexpr std::size_t heads_tried = 4;

/// Shared with answers that come after nobody waits for them any more.
using Sealer = std::shared_ptr<const MetaSealer>;

Result<Sealer> make_sealer(const Keyring& keyring) {
  auto sealer = MetaSealer::make(keyring);
  if (!sealer) return fail(sealer.error());
  return std::make_shared<const MetaSealer>(std::move(*sealer));
}

/// One object from any of the nodes, opened.
Result<Bytes> fetch_from_any(DriveSeams seams, Engine& engine, const std::vector<NodeSpec>& nodes, const Sealer& sealer,
                             const MetaName& name, Duration patience, HeadStore& keep) {
  std::string why;
  for (const NodeSpec& node : nodes) {
    const MonotonicTime deadline = seams.clock.now() + patience;
    auto object = fetch_now(seams, engine, node.id, sealer->object_name(name, node.id), deadline,
                            [sealer, name](ByteView bytes) { return sealer->open(name, bytes).has_value(); });
    if (!object) {
      why += "\n  " + node.url + ": " + object.error().what;
      continue;
    }
    if (auto saved = keep.save(name, *object); !saved) return fail(saved.error());
    return sealer->open(name, *object);
  }
  return fail(Code::too_few_nodes, "a part of the drive's journal or checkpoint is on none of the nodes that can be reached:" + why,
              "bring more nodes back and run this again");
}

}  // namespace

std::string_view to_string(HeadAnswer::Standing standing) {
  switch (standing) {
    case HeadAnswer::Standing::newest: return "newest";
    case HeadAnswer::Standing::stale: return "stale";
    case HeadAnswer::Standing::none: return "none";
    case HeadAnswer::Standing::wrong: return "wrong";
    case HeadAnswer::Standing::silent: return "silent";
  }
  return "silent";
}

std::size_t HeadSurvey::count(HeadAnswer::Standing standing) const {
  return static_cast<std::size_t>(std::count_if(answers.begin(), answers.end(), [&](const HeadAnswer& answer) { return answer.standing == standing; }));
}

Result<HeadSurvey> survey_heads(DriveSeams seams, Engine& engine, const std::vector<NodeSpec>& nodes, const Keyring& keyring, Duration patience) {
  auto sealer = make_sealer(keyring);
  if (!sealer) return fail(sealer.error());
  HeadSurvey survey;
  std::optional<Error> newer_format;
  for (const NodeSpec& node : nodes) {
    HeadAnswer answer;
    answer.node = node;
    const MonotonicTime deadline = seams.clock.now() + patience;
    auto names = list_all(seams, engine, node.id, (*sealer)->head_prefix(node.id), deadline);
    if (!names) {
      answer.why = names.error().what;
      survey.answers.push_back(std::move(answer));
      continue;
    }
    std::vector<MetaName> heads;
    for (const std::string& text : *names)
      if (const auto name = (*sealer)->parse_head(text, node.id)) heads.push_back(*name);
    std::sort(heads.rbegin(), heads.rend());
    answer.standing = heads.empty() ? HeadAnswer::Standing::none : HeadAnswer::Standing::wrong;
    for (std::size_t i = 0; i < std::min(heads.size(), heads_tried); ++i) {
      auto object = fetch_now(seams, engine, node.id, (*sealer)->object_name(heads[i], node.id), deadline,
                              [opener = *sealer, name = heads[i]](ByteView bytes) { return opener->open(name, bytes).has_value(); });
      auto plain = object ? (*sealer)->open(heads[i], *object) : fail(object.error());
      auto head = plain ? decode_head(*plain, keyring) : fail(plain.error());
      if (head && head->name() != heads[i]) head = fail(Code::corrupt, "its head is another's");
      if (!head) {
        if (head.error().code == Code::newer_format) newer_format = head.error();
        answer.why = head.error().what;
        continue;
      }
      answer.name = heads[i];
      answer.standing = HeadAnswer::Standing::stale;  // until all have answered
      survey.epoch_max = std::max(survey.epoch_max, head->epoch);
      const bool higher = mutant("head-epoch-ignored") && survey.head ? head->generation > survey.head->generation
                                                                      : !survey.head || newer(*head, *survey.head);
      if (higher || mutant("head-older-accepted")) survey.head = std::move(*head);
      break;
    }
    // Somebody may have claimed an epoch without having shipped a head yet. What a node makes up does not open.
    auto claims = list_all(seams, engine, node.id, (*sealer)->claim_prefix(node.id), deadline);
    for (const std::string& text : claims ? *claims : std::vector<std::string>()) {
      const auto claim = (*sealer)->parse_claim(text, node.id);
      if (!claim || claim->epoch <= survey.epoch_max) continue;
      auto object = fetch_now(seams, engine, node.id, text, deadline,
                              [opener = *sealer, name = *claim](ByteView bytes) { return opener->open(name, bytes).has_value(); });
      if (object) survey.epoch_max = claim->epoch;
    }
    survey.answers.push_back(std::move(answer));
  }
  if (!survey.head && newer_format) return fail(*newer_format);
  if (survey.head)
    for (HeadAnswer& answer : survey.answers)
      if (answer.standing == HeadAnswer::Standing::stale && answer.name == survey.head->name()) answer.standing = HeadAnswer::Standing::newest;
  return survey;
}

Result<std::map<std::uint32_t, Claim>> survey_claims(DriveSeams seams, Engine& engine, const std::vector<NodeSpec>& nodes, const Keyring& keyring,
                                                     std::uint32_t above, Duration patience) {
  auto sealer = make_sealer(keyring);
  if (!sealer) return fail(sealer.error());
  std::map<std::uint32_t, std::map<Bytes, std::size_t>> seen;  // how many nodes hold which
  for (const NodeSpec& node : nodes) {
    const MonotonicTime deadline = seams.clock.now() + patience;
    auto names = list_all(seams, engine, node.id, (*sealer)->claim_prefix(node.id), deadline);
    for (const std::string& text : names ? *names : std::vector<std::string>()) {
      const auto name = (*sealer)->parse_claim(text, node.id);
      if (!name || name->epoch <= above) continue;
      auto object = fetch_now(seams, engine, node.id, text, deadline, [opener = *sealer, name = *name](ByteView bytes) { return opener->open(name, bytes).has_value(); });
      if (!object) continue;  // what a node makes up does not open
      if (auto plain = (*sealer)->open(*name, *object)) ++seen[name->epoch][*plain];
    }
  }
  std::map<std::uint32_t, Claim> claims;
  for (const auto& [epoch, held] : seen) {
    const auto most = std::max_element(held.begin(), held.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    if (auto claim = decode_claim(most->first)) claims.emplace(epoch, std::move(*claim));
  }
  return claims;
}

Result<> rebuild_state(DriveSeams seams, const std::string& directory, Engine& engine, const Head& head, const Keyring& keyring,
                       const std::vector<NodeSpec>& nodes, Duration patience, const std::function<void(const RecoveryProgress&)>& progress) {
  auto sealer = make_sealer(keyring);
  if (!sealer) return fail(sealer.error());
  auto key = keyring.derive(KeyEpoch{1}, KeyPurpose::journal);
  if (!key) return fail(key.error());
  auto store = HeadStore::open(seams.disk, heads_directory(directory));
  if (!store) return fail(store.error());
  RecoveryProgress done;
  done.objects_total = head.checkpoint_parts.size() + head.stretches.size() + 1;
  const auto advance = [&] {
    ++done.objects_done;
    if (progress) progress(done);
  };

  // The checkpoint, as it was written: its own hash is checked when the index is made from it.
  const std::string checkpoints = checkpoint_directory(directory);
  if (auto made = seams.disk.make_directory(checkpoints); !made) return made;
  std::string digits = std::to_string(head.checkpoint.value);
  digits.insert(0, 20 - std::min<std::size_t>(digits.size(), 20), '0');
  auto file = seams.disk.open(checkpoints + "/" + digits + ".ckpt", OpenMode::create);
  if (!file) return fail(file.error());
  std::uint64_t at = 0;
  for (const PartId& id : head.checkpoint_parts) {
    auto part = fetch_from_any(seams, engine, nodes, *sealer, MetaName::part(MetaKind::checkpoint, id), patience, **store);
    if (!part) return fail(part.error());
    if (auto written = (*file)->write(at, *part); !written) return written;
    at += part->size();
    advance();
  }
  if (at != head.checkpoint_bytes) return fail(Code::corrupt, "the checkpoint on the nodes is not as long as the head says");
  if (auto synced = (*file)->sync(); !synced) return synced;
  if (auto synced = seams.disk.sync_directory(checkpoints); !synced) return synced;

  // The journal behind it, batch by batch: appending gives the chain again, which proves every byte.
  const std::string journals = journal_directory(directory);
  if (auto made = seams.disk.make_directory(journals); !made) return made;
  std::unique_ptr<Journal> journal;
  for (const Stretch& stretch : head.stretches) {
    Bytes packed;
    if (stretch.where == head.name()) {
      packed = head.inside;
    } else {
      auto plain = fetch_from_any(seams, engine, nodes, *sealer, stretch.where, patience, **store);
      if (!plain) return fail(plain.error());
      if (stretch.where.kind == MetaKind::head) {
        auto carrier = decode_head(*plain, keyring);
        if (!carrier) return fail(carrier.error());
        packed = std::move(carrier->inside);
      } else {
        packed = std::move(*plain);
      }
    }
    auto unpacked = unpack_stretch(packed, [&](const JournalBatch& batch) -> Result<> {
      if (!journal) {
        auto made = Journal::continue_at(seams.disk, journals, keyring.volume(), *key, batch.first, batch.previous);
        if (!made) return fail(made.error());
        journal = std::move(*made);
      }
      auto appended = journal->append(batch.body, batch.count);
      if (!appended) return fail(appended.error());
      if (*appended != batch.first || journal->chain() != batch.chain) return fail(Code::corrupt, "the journal on the nodes has a gap or was changed");
      return {};
    });
    if (!unpacked) return unpacked;
    advance();
  }
  if (!journal || journal->last() != head.lsn || journal->chain() != head.chain)
    return fail(Code::corrupt, "the journal on the nodes does not end as the head says");
  Bytes more = head.supplement;
  std::uint32_t count = head.supplement_count;
  for (const NodeSpec& node : nodes) {
    const auto known = std::find_if(head.nodes.begin(), head.nodes.end(), [&](const NodeSpec& other) { return other.id == node.id; });
    if (known == head.nodes.end() || known->url == node.url) continue;
    NodeSpec moved = *known;
    moved.url = node.url;
    encode_record(NodeAdded{moved}, more);
    ++count;
  }
  if (count > 0)
    if (auto appended = journal->append(more, count); !appended) return fail(appended.error());

  auto plain = encode_head(head, keyring);
  if (!plain) return fail(plain.error());
  if (auto saved = (*store)->save(head.name(), (*sealer)->seal(head.name(), *plain, seams.random)); !saved) return saved;
  advance();
  return {};
}

Result<EpochClaim> claim_epoch(DriveSeams seams, const std::string& directory, Engine& engine, const std::vector<NodeSpec>& nodes,
                               const Keyring& keyring, std::uint32_t epoch, const std::optional<HistoryPoint>& from, Duration patience) {
  auto sealer = make_sealer(keyring);
  if (!sealer) return fail(sealer.error());
  auto store = HeadStore::open(seams.disk, heads_directory(directory));
  if (!store) return fail(store.error());
  const MetaName name = MetaName::claim(epoch);
  const Bytes own = encode_claim({seams.random.id<DeviceId>(), from});
  const auto object = std::make_shared<const Bytes>((*sealer)->seal(name, own, seams.random));
  // Here first: what nodes take must be known to be ours, whatever happens in between.
  if (auto saved = (*store)->save(name, *object); !saved) return fail(saved.error());
  EpochClaim claim;
  claim.epoch = epoch;
  claim.nodes = nodes.size();
  std::map<Bytes, std::size_t> held;  // what stands on the nodes that answer, ours and others'
  for (const NodeSpec& node : nodes) {
    Answer<void> answer;
    engine.put(node.id, (*sealer)->object_name(name, node.id), object, answer.sink());
    const auto put = answer.wait(seams, seams.clock.now() + patience);
    if (put) {
      ++claim.taken;
      ++held[own];
      continue;
    }
    if (put.error().code != Code::conflict) continue;
    auto theirs = fetch_now(seams, engine, node.id, (*sealer)->object_name(name, node.id), seams.clock.now() + patience,
                            [opener = *sealer, name](ByteView bytes) { return opener->open(name, bytes).has_value(); });
    if (!theirs) continue;  // a node that refuses for no reason is nobody's
    ++claim.refused;
    if (auto plain = (*sealer)->open(name, *theirs)) ++held[*plain];
  }
  // Whoever asks the same nodes comes to the same answer: of two at one moment one goes on.
  if (claim.refused > 0 && winning_claim(held, claim.taken + claim.refused) != own && !mutant("claim-refusal-ignored"))
    return fail(Code::fenced, "another computer is recovering this drive at this moment and was first on " + std::to_string(claim.refused) + " nodes",
                "use the drive there, or run this again to take it over from there");
  return claim;
}

}  // namespace atl
