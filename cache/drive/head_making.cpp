// How the publisher makes a head from a cut whose segments are protected: checkpoint, stretches of the journal, supplement.
#include <algorithm>

#include "cache/drive/home.h"
#include "cache/drive/paths.h"
#include "cache/drive/publisher.h"
#include "cache/heads/stretch.h"
#include "engine/base/codec.h"

namespace atl {
namespace {

constexpr std::size_t inside_bytes_max = 256u << 10;       // a larger stretch is a part of its own
constexpr std::size_t stretch_plain_bytes = 4u << 20;
constexpr std::size_t checkpoint_part_bytes = 4u << 20;
constexpr std::uint64_t stretches_bytes_min = 4u << 20;    // below, no new checkpoint is worth its bytes
constexpr std::size_t inside_max = 64;                     // stretches inside heads that one head may rest on
constexpr std::uint64_t batch_bytes_max = 1u << 20;        // told to all nodes again, so that others get one object for many
constexpr std::uint64_t checkpoint_file_bytes_max = 16ull << 30;

}  // namespace

std::size_t Publisher::lacked_from(const Head& head) const {
  const auto batch = mirror_->batch_due();
  if (!batch) return head.stretches.size();
  // Stretches follow each other as the heads that brought them.
  const auto first = std::find_if(head.stretches.begin(), head.stretches.end(),
                                  [&](const Stretch& stretch) { return stretch.where.kind == MetaKind::head && stretch.where > batch->held; });
  std::uint64_t bytes = 0;
  for (auto stretch = first; stretch != head.stretches.end(); ++stretch) bytes += stretch->bytes;
  return bytes > batch_bytes_max ? head.stretches.size() : static_cast<std::size_t>(first - head.stretches.begin());
}

Result<> Publisher::new_checkpoint(Head& head) {
  auto names = core_.seams.disk.list(checkpoint_directory(core_.directory));
  if (!names) return fail(names.error());
  std::string newest;
  for (const std::string& name : *names)
    if (name.ends_with(".ckpt")) newest = std::max(newest, name);
  if (newest.empty()) return fail(Code::not_found, "there is no checkpoint to send to nodes");
  auto file = core_.seams.disk.open(checkpoint_directory(core_.directory) + "/" + newest, OpenMode::read);
  if (!file) return fail(file.error());
  auto size = (*file)->size();
  if (!size) return fail(size.error());
  if (*size > checkpoint_file_bytes_max) return fail(Code::too_large, "a checkpoint of " + human_bytes(*size));
  head.checkpoint = Lsn(std::stoull(newest.substr(0, newest.find('.'))));
  head.checkpoint_bytes = *size;
  head.checkpoint_parts.clear();
  head.stretches.clear();
  for (std::uint64_t at = 0; at < *size;) {
    Bytes part(static_cast<std::size_t>(std::min<std::uint64_t>(checkpoint_part_bytes, *size - at)));
    auto got = (*file)->read(at, part);
    if (!got) return fail(got.error());
    if (*got != part.size()) return fail(Code::corrupt, "the checkpoint ended early");
    const MetaName name = MetaName::part(MetaKind::checkpoint, core_.seams.random.id<PartId>());
    if (auto r = store_->save(name, sealer_->seal(name, part, core_.seams.random)); !r) return r;
    head.checkpoint_parts.push_back(name.id);
    at += part.size();
  }
  return {};
}

Result<> Publisher::add_stretches(Head& head, Lsn first) {
  // One small stretch goes inside the head; larger ones are parts, each small enough to be packed in memory.
  StretchPacker packer;
  std::vector<std::pair<Stretch, Bytes>> packed;
  const auto pack = [&]() -> Result<> {
    auto bytes = packer.pack();
    if (!bytes) return fail(bytes.error());
    Stretch stretch;
    stretch.first = packer.first();
    stretch.last = packer.last();
    stretch.bytes = bytes->size();
    packed.emplace_back(stretch, std::move(*bytes));
    packer = StretchPacker();
    return {};
  };
  auto replayed = committer_.with_journal([&](Journal& journal) {
    return journal.replay(first, [&](const JournalBatch& batch) -> Result<> {
      if (batch.first > making_->mark.lsn) return {};
      packer.add(batch);
      return packer.plain_bytes() < stretch_plain_bytes ? Result<>() : pack();
    });
  });
  if (!replayed) return replayed;
  if (!packer.empty())
    if (auto r = pack(); !r) return r;
  for (auto& [stretch, bytes] : packed) {
    if (packed.size() == 1 && bytes.size() <= inside_bytes_max) {
      stretch.where = head.name();
      head.inside = std::move(bytes);
    } else {
      stretch.where = MetaName::part(MetaKind::journal, core_.seams.random.id<PartId>());
      if (auto r = store_->save(stretch.where, sealer_->seal(stretch.where, bytes, core_.seams.random)); !r) return r;
    }
    head.stretches.push_back(stretch);
  }
  return {};
}

void Publisher::add_supplement(Head& head) {
  const auto add = [&head](const Record& record) {
    encode_record(record, head.supplement);
    ++head.supplement_count;
  };
  std::lock_guard lock(core_.mutex);
  for (const auto& [id, at] : making_->segments) {
    const auto found = core_.tables->segments().find(id);
    if (found == core_.tables->segments().end()) continue;  // protected_now() looked
    const SegmentRow& row = found->second;
    if (!at.finished) add(SegmentFinished{id, row.bytes, row.finished_at});
    if (at.attempt != row.attempt) add(UploadIntended{id, row.attempt, row.k, row.n});
    for (const ShardHome& home : row.placed) add(ShardPlaced{id, row.attempt, home});
  }
  for (const auto& [id, count] : making_->filling) {
    const auto found = core_.tables->segments().find(id);
    if (found == core_.tables->segments().end() || found->second.placed.size() == count) continue;
    for (const ShardHome& home : found->second.placed) add(ShardPlaced{id, found->second.attempt, home});
  }
  making_->placed = core_.placed_lsn;
}

Result<> Publisher::finish() {
  // What the supplement tells of placements must be durable here as well.
  if (auto r = committer_.commit(); !r) return r;
  Head head;
  if (head_) {
    head = *head_;
    head.inside.clear();
    head.supplement.clear();
    head.supplement_count = 0;
  }
  head.volume = core_.keyring.volume();
  head.generation = std::max(head_ ? head_->generation : 0, mirror_->generation_seen()) + 1;
  head.epoch = epoch_;
  head.device = device_;
  head.made_at = core_.seams.clock.wall_now();
  head.lsn = making_->mark.lsn;
  head.chain = making_->mark.chain;
  if (auto wrapped = read_wrapped_keyring(core_.seams.disk, core_.directory)) head.wrapped_keyring = std::move(*wrapped);
  {
    std::lock_guard lock(core_.mutex);
    head.nodes.clear();
    for (const auto& [id, spec] : core_.tables->nodes()) head.nodes.push_back(spec);
  }
  Lsn first = head.lsn;
  const bool condensed = want_checkpoint_;
  if (want_checkpoint_) {
    if (auto r = new_checkpoint(head); !r) return r;
    first = head.checkpoint.next();
  } else {
    first = head_->lsn.next();
    // Many small stretches become one, so that a machine that comes back asks for few objects, and a batch is few.
    const auto inside = [](const Stretch& stretch) { return stretch.where.kind == MetaKind::head; };
    auto begin = head.stretches.begin() + static_cast<std::ptrdiff_t>(lacked_from(head));
    if (std::count_if(head.stretches.begin(), head.stretches.end(), inside) >= static_cast<std::ptrdiff_t>(inside_max))
      begin = std::find_if(head.stretches.begin(), head.stretches.end(), inside);
    if (begin != head.stretches.end() && committer_.with_journal([](Journal& journal) { return journal.first(); }) <= begin->first) {
      first = begin->first;
      head.stretches.erase(begin, head.stretches.end());
    }
  }
  if (auto r = add_stretches(head, first); !r) return r;
  add_supplement(head);
  auto plain = encode_head(head, core_.keyring);
  if (!plain) return fail(plain.error());
  if (plain->size() > MetaSealer::plain_bytes_max) return fail(Code::too_large, "a head of " + human_bytes(plain->size()));
  if (head.generation == 1 || !head_ || head_->epoch != epoch_) {
    // The claim of the epoch stands on nodes before its first head.
    const MetaName claim = MetaName::claim(epoch_);
    if (!store_->load(claim)) {
      own_claim_ = encode_claim({device_, std::nullopt});
      if (auto r = store_->save(claim, sealer_->seal(claim, own_claim_, core_.seams.random)); !r) return r;
    }
  }
  if (auto r = store_->save(head.name(), sealer_->seal(head.name(), *plain, core_.seams.random)); !r) return r;
  std::uint64_t stretches = 0;
  for (const Stretch& stretch : head.stretches) stretches += stretch.bytes;
  want_checkpoint_ = stretches > std::max(stretches_bytes_min, head.checkpoint_bytes);
  {
    std::lock_guard lock(head_mutex_);
    head_ = std::move(head);
  }
  placed_told_ = making_->placed;
  told_.emplace(head_->name(), Told{head_->lsn, placed_told_});
  if (condensed) {
    std::lock_guard lock(mutex_);
    condensing_ = false;
  }
  if (making_->hurried) mirror_->rush();
  making_.reset();
  {
    std::lock_guard lock(core_.mutex);
    core_.pins.reset();
    core_.tables->watch_deaths({});
  }
  tell_mirror();
  mirror_->open_batches();  // before the next head is begun
  return {};
}

}  // namespace atl
