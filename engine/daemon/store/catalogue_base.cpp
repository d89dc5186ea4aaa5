#include "engine/daemon/store/catalogue_base.h"

#include <algorithm>
#include <cstdio>

#include "engine/base/codec.h"
#include "engine/daemon/store/sums.h"

namespace atl {

namespace {

constexpr std::string_view head_magic = "atollbas";
constexpr std::string_view tail_magic = "atollend";
constexpr std::uint32_t format = 1;
constexpr std::size_t head_bytes = 32;
constexpr std::size_t tail_bytes = 32;
constexpr std::size_t frame_head_bytes = 5;  // length u32, type u8
constexpr std::size_t frame_sum_bytes = 8;
constexpr std::size_t block_bytes = 4096;
constexpr std::size_t facts_bytes = 1 << 16;  // of a frame that is not entries
constexpr std::uint32_t frame_bytes_max = 1 << 20;
constexpr std::size_t write_bytes = 1 << 20;

enum FrameType : std::uint8_t { entries_frame = 1, trash_frame = 2, totals_frame = 3, index_frame = 4, clock_frame = 5 };

std::size_t shared_prefix(std::string_view a, std::string_view b) {
  const std::size_t limit = std::min(a.size(), b.size());
  return static_cast<std::size_t>(std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(limit), b.begin()).first -
                                  a.begin());
}

Sum8 frame_sum(std::uint64_t number, std::uint64_t offset, std::uint8_t type, ByteView payload) {
  return sum8({place_bytes(number), place_bytes(offset), ByteView(&type, 1), payload});
}

/// The frame at the front of `bytes`, which lie at `offset` of the file. Null where it is not whole.
std::optional<std::pair<std::uint8_t, ByteView>> parse_frame(std::uint64_t number, std::uint64_t offset, ByteView bytes) {
  Decoder in(bytes);
  const std::uint32_t length = in.u32();
  const std::uint8_t type = in.u8();
  if (length > frame_bytes_max) return std::nullopt;
  const ByteView payload = in.raw(length);
  const ByteView stored = in.raw(frame_sum_bytes);
  if (!in.ok()) return std::nullopt;
  const Sum8 sum = frame_sum(number, offset, type, payload);
  if (!std::equal(sum.begin(), sum.end(), stored.begin())) return std::nullopt;
  return std::pair(type, payload);
}

std::size_t frame_size(ByteView payload) { return frame_head_bytes + payload.size() + frame_sum_bytes; }

}  // namespace

ObjectKey object_key(const AccountId& account, std::string_view name) {
  ObjectKey key;
  key.reserve(AccountId::size + name.size());
  key.append(as_text(account.view()));
  key.append(name);
  return key;
}

AccountId account_of(std::string_view key) {
  AccountId account;
  std::copy_n(key.begin(), AccountId::size, account.bytes.begin());
  return account;
}

std::string base_path(const std::string& folder, std::uint64_t number) {
  char name[32];
  std::snprintf(name, sizeof name, "/base-%016llx", static_cast<unsigned long long>(number));
  return folder + name;
}

// --- reading

std::shared_ptr<const CatalogueBase> CatalogueBase::none() {
  return std::shared_ptr<const CatalogueBase>(new CatalogueBase());
}

Result<std::shared_ptr<const CatalogueBase>> CatalogueBase::open(Disk& disk, const std::string& folder,
                                                                 std::uint64_t number, BaseFacts* facts) {
  std::shared_ptr<CatalogueBase> base(new CatalogueBase());
  base->path_ = base_path(folder, number);
  base->number_ = number;
  const Error damaged(Code::corrupt, base->path_ + " is damaged");
  auto file = disk.open(base->path_, OpenMode::read);
  if (!file) return fail(file.error());
  base->file_ = std::move(*file);
  auto size = base->file_->size();
  if (!size) return fail(size.error());
  base->file_bytes_ = *size;
  if (*size < head_bytes + tail_bytes) return fail(damaged);

  Bytes head(head_bytes);
  Bytes tail(tail_bytes);
  for (auto [bytes, offset] : {std::pair(&head, std::uint64_t{0}), std::pair(&tail, *size - tail_bytes)}) {
    auto count = base->file_->read(offset, *bytes);
    if (!count) return fail(count.error());
    const Sum8 sum = sum8({ByteView(*bytes).first(24)});
    if (*count != bytes->size() || !std::equal(sum.begin(), sum.end(), bytes->begin() + 24)) return fail(damaged);
  }
  Decoder first(head);
  if (as_text(first.raw(8)) != head_magic) return fail(damaged);
  if (const std::uint32_t found = first.u32(); found != format)
    return fail(Code::newer_format, base->path_ + " was written by a newer version of Atoll", "use that version or a later one");
  (void)first.u32();
  if (first.u64() != number) return fail(damaged);
  Decoder last(tail);
  if (as_text(last.raw(8)) != tail_magic) return fail(damaged);
  const std::uint64_t begin = last.u64();
  base->count_ = last.u64();
  const std::uint64_t end = *size - tail_bytes;
  if (begin < head_bytes || begin > end) return fail(damaged);

  bool clock_seen = false;
  Bytes bytes;
  for (std::uint64_t offset = begin; offset < end;) {
    bytes.resize(static_cast<std::size_t>(std::min<std::uint64_t>(end - offset, frame_bytes_max)));
    auto count = base->file_->read(offset, bytes);
    if (!count) return fail(count.error());
    auto frame = parse_frame(number, offset, ByteView(bytes).first(*count));
    if (!frame) return fail(damaged);
    Decoder in(frame->second);
    while (in.ok() && in.remaining() > 0) {
      switch (frame->first) {
        case index_frame: {
          Block block;
          block.offset = in.varint();
          block.length = static_cast<std::uint32_t>(in.varint());
          block.first = in.text();
          if (block.length > frame_bytes_max || block.first.size() < AccountId::size) in.reject();
          base->blocks_.push_back(std::move(block));
          break;
        }
        case trash_frame: {
          TrashObject object;
          object.account = in.id<AccountId>();
          object.since_s = in.varint();
          object.id = in.varint();
          object.size = in.varint();
          object.reason = static_cast<TrashReason>(in.u8());
          if (facts) facts->trash.push_back(object);
          break;
        }
        case totals_frame: {
          const AccountId account = in.id<AccountId>();
          AccountTotals totals;
          totals.used_bytes = in.varint();
          totals.objects = in.varint();
          if (facts) facts->totals.emplace_back(account, totals);
          break;
        }
        case clock_frame: {
          BaseFacts found;
          found.next_id = in.varint();
          found.floor_id = in.varint();
          found.clock_s = in.varint();
          clock_seen = true;
          if (facts) {
            facts->next_id = found.next_id;
            facts->floor_id = found.floor_id;
            facts->clock_s = found.clock_s;
          }
          break;
        }
        default: in.reject();
      }
    }
    if (!in.ok()) return fail(damaged);
    offset += frame_size(frame->second);
  }
  if (!clock_seen) return fail(damaged);
  return std::shared_ptr<const CatalogueBase>(std::move(base));
}

std::size_t CatalogueBase::block_of(std::string_view key) const {
  const auto after = std::upper_bound(blocks_.begin(), blocks_.end(), key,
                                      [](std::string_view wanted, const Block& block) { return wanted < block.first; });
  return after == blocks_.begin() ? blocks_.size() : static_cast<std::size_t>(after - blocks_.begin()) - 1;
}

Result<std::vector<CatalogueBase::Entry>> CatalogueBase::load(std::size_t at) const {
  const Block& block = blocks_[at];
  Bytes bytes(block.length);
  auto count = file_->read(block.offset, bytes);
  if (!count) return fail(count.error());
  const Error damaged(Code::corrupt, path_ + " is damaged");
  auto frame = parse_frame(number_, block.offset, ByteView(bytes).first(*count));
  if (!frame || frame->first != entries_frame) return fail(damaged);
  std::vector<Entry> entries;
  Decoder in(frame->second);
  while (in.ok() && in.remaining() > 0) {
    Entry entry;
    const std::uint64_t shared = in.varint();
    if (shared > (entries.empty() ? 0 : entries.back().key.size())) return fail(damaged);
    if (!entries.empty()) entry.key = entries.back().key.substr(0, static_cast<std::size_t>(shared));
    entry.key.append(in.text());
    entry.object.id = in.varint();
    entry.object.size = in.varint();
    if (entry.key.size() < AccountId::size) return fail(damaged);
    entries.push_back(std::move(entry));
  }
  if (!in.ok()) return fail(damaged);
  return entries;
}

Result<> CatalogueBase::check() const {
  for (std::size_t block = 0; block < blocks_.size(); ++block) {
    if (auto entries = load(block); !entries) return fail(entries.error());
  }
  return {};
}

Result<std::optional<LiveObject>> CatalogueBase::find(std::string_view key) const {
  const std::size_t block = block_of(key);
  if (block == blocks_.size()) return std::optional<LiveObject>();
  auto entries = load(block);
  if (!entries) return fail(entries.error());
  for (const Entry& entry : *entries) {
    if (entry.key == key) return std::optional(entry.object);
  }
  return std::optional<LiveObject>();
}

Result<> CatalogueBase::Cursor::seek(std::string_view from) {
  entries_.clear();
  at_ = 0;
  block_ = base_.block_of(from);
  if (block_ == base_.blocks_.size()) block_ = 0;
  if (block_ >= base_.blocks_.size()) return {};
  auto loaded = base_.load(block_);
  if (!loaded) return fail(loaded.error());
  entries_ = std::move(*loaded);
  while (at_ < entries_.size() && entries_[at_].key < from) ++at_;
  if (at_ < entries_.size()) return {};
  --at_;  // blocks are never empty
  return next();
}

Result<> CatalogueBase::Cursor::next() {
  if (++at_ < entries_.size()) return {};
  entries_.clear();
  at_ = 0;
  if (block_ + 1 >= base_.blocks_.size()) return {};
  auto loaded = base_.load(++block_);
  if (!loaded) return fail(loaded.error());
  entries_ = std::move(*loaded);
  return {};
}

// --- writing

Result<std::unique_ptr<CatalogueBaseWriter>> CatalogueBaseWriter::create(Disk& disk, const std::string& folder,
                                                                         std::uint64_t number) {
  const std::string path = base_path(folder, number) + ".new";
  if (auto done = disk.remove(path); !done && done.error().code != Code::not_found) return fail(done.error());
  auto file = disk.open(path, OpenMode::create_new);
  if (!file) return fail(file.error());
  std::unique_ptr<CatalogueBaseWriter> writer(new CatalogueBaseWriter(disk, folder, number, std::move(*file)));
  Encoder out(writer->out_);
  out.raw(as_bytes(head_magic));
  out.u32(format);
  out.u32(0);
  out.u64(number);
  out.raw(sum8({writer->out_}));
  return writer;
}

Result<> CatalogueBaseWriter::write_out() {
  if (auto done = file_->write(written_, out_); !done) return done;
  written_ += out_.size();
  out_.clear();
  return {};
}

Result<> CatalogueBaseWriter::frame(std::uint8_t type, ByteView payload) {
  const std::uint64_t offset = written_ + out_.size();
  Encoder out(out_);
  out.u32(static_cast<std::uint32_t>(payload.size()));
  out.u8(type);
  out.raw(payload);
  out.raw(frame_sum(number_, offset, type, payload));
  return out_.size() >= write_bytes ? write_out() : Result<>();
}

Result<> CatalogueBaseWriter::end_block() {
  if (block_.empty()) return {};
  places_.back().length = frame_size(block_);
  auto done = frame(entries_frame, block_);
  block_.clear();
  return done;
}

Result<> CatalogueBaseWriter::add(std::string_view key, const LiveObject& object) {
  Encoder out(block_);
  std::size_t shared = 0;
  if (block_.empty()) {
    places_.push_back({ObjectKey(key), written_ + out_.size(), 0});
  } else {
    shared = shared_prefix(last_, key);
  }
  out.varint(shared);
  out.text(key.substr(shared));
  out.varint(object.id);
  out.varint(object.size);
  last_.assign(key);
  ++count_;
  return block_.size() >= block_bytes - frame_head_bytes - frame_sum_bytes ? end_block() : Result<>();
}

Result<> CatalogueBaseWriter::finish(const BaseFacts& facts) {
  if (auto done = end_block(); !done) return done;
  const std::uint64_t begin = written_ + out_.size();
  Bytes payload;
  Result<> done;
  const auto flush = [&](std::uint8_t type, std::size_t limit) {
    if (!done || payload.size() < limit || payload.empty()) return;
    done = frame(type, payload);
    payload.clear();
  };
  Encoder out(payload);
  for (const Place& place : places_) {
    out.varint(place.offset);
    out.varint(place.length);
    out.text(place.first);
    flush(index_frame, facts_bytes);
  }
  flush(index_frame, 0);
  for (const TrashObject& object : facts.trash) {
    out.id(object.account);
    out.varint(object.since_s);
    out.varint(object.id);
    out.varint(object.size);
    out.u8(static_cast<std::uint8_t>(object.reason));
    flush(trash_frame, facts_bytes);
  }
  flush(trash_frame, 0);
  for (const auto& [account, totals] : facts.totals) {
    out.id(account);
    out.varint(totals.used_bytes);
    out.varint(totals.objects);
    flush(totals_frame, facts_bytes);
  }
  flush(totals_frame, 0);
  out.varint(facts.next_id);
  out.varint(facts.floor_id);
  out.varint(facts.clock_s);
  flush(clock_frame, 0);
  if (!done) return done;

  Bytes tail;
  Encoder end(tail);
  end.raw(as_bytes(tail_magic));
  end.u64(begin);
  end.u64(count_);
  end.raw(sum8({tail}));
  out_.insert(out_.end(), tail.begin(), tail.end());
  if (done = write_out(); !done) return done;
  if (done = file_->sync(); !done) return done;
  const std::string path = base_path(folder_, number_);
  if (done = disk_.rename(path + ".new", path); !done) return done;
  return disk_.sync_directory(folder_);
}

}  // namespace atl
