#include "engine/daemon/store/catalogue_log.h"

#include <algorithm>
#include <cstdio>

#include "engine/base/codec.h"
#include "engine/base/mutant.h"
#include "engine/daemon/store/sums.h"

namespace atl {

namespace {

constexpr std::string_view head_magic = "atolllog";
constexpr std::uint32_t format = 1;
constexpr std::size_t head_bytes = 32;
constexpr std::uint32_t batch_magic = 0x68637462;  // "btch"
constexpr std::size_t batch_head_bytes = 8;        // magic u32, length u32
constexpr std::size_t sum_bytes = 8;
constexpr std::uint32_t batch_bytes_max = 16 << 20;
constexpr std::uint64_t log_bytes_max = std::uint64_t{1} << 30;
constexpr std::uint64_t room_min = batch_head_bytes + sum_bytes;  // zeros behind the last batch
constexpr std::uint64_t room_unit = 16384;                        // the file grows by these

using Kind = CatalogueChange::Kind;

Bytes encode_head(std::uint64_t number) {
  Bytes head;
  Encoder out(head);
  out.raw(as_bytes(head_magic));
  out.u32(format);
  out.u32(0);
  out.u64(number);
  out.raw(sum8({head}));
  return head;
}

Sum8 batch_sum(std::uint64_t number, std::uint64_t offset, ByteView payload) {
  return sum8({place_bytes(number), place_bytes(offset), payload});
}

/// Where the file of a log ends whose batches end at `length`.
std::uint64_t end_for(std::uint64_t length) { return (length + room_min + room_unit - 1) / room_unit * room_unit; }

/// Whether something is missing of a file whose last whole batch ends at `offset`. What a crash leaves of the next one
/// lies in the room that was flushed before.
bool is_cut(std::uint64_t offset, ByteView log) {
  if (log.size() - offset < room_min) return true;
  Decoder in(log.subspan(static_cast<std::size_t>(offset)));
  if (in.u32() != batch_magic) return false;
  const std::uint32_t length = in.u32();
  return length <= batch_bytes_max && offset + batch_head_bytes + length + sum_bytes + room_min > log.size();
}

/// The payload of the batch at `offset`; null where none is whole.
std::optional<ByteView> parse_batch(std::uint64_t number, std::uint64_t offset, ByteView log) {
  Decoder in(log.subspan(static_cast<std::size_t>(offset)));
  if (in.u32() != batch_magic) return std::nullopt;
  const std::uint32_t length = in.u32();
  if (length > batch_bytes_max) return std::nullopt;
  const ByteView payload = in.raw(length);
  const ByteView stored = in.raw(sum_bytes);
  if (!in.ok()) return std::nullopt;
  const Sum8 sum = batch_sum(number, offset, payload);
  if (!std::equal(sum.begin(), sum.end(), stored.begin())) return std::nullopt;
  return payload;
}

bool decode_changes(ByteView payload, const CatalogueLog::Visit& visit) {
  Decoder in(payload);
  while (in.ok() && in.remaining() > 0) {
    CatalogueChange change;
    change.kind = static_cast<Kind>(in.u8());
    switch (change.kind) {
      case Kind::put:
        change.key = in.text();
        change.id = in.varint();
        change.size = in.varint();
        break;
      case Kind::trash:
        change.key = in.text();
        change.id = in.varint();
        change.size = in.varint();
        change.clock_s = in.varint();
        change.reason = static_cast<TrashReason>(in.u8());
        break;
      case Kind::forget:
        change.id = in.varint();
        change.clock_s = in.varint();
        break;
      case Kind::clock: change.clock_s = in.varint(); break;
      default: in.reject();
    }
    const bool keyed = change.kind == Kind::put || change.kind == Kind::trash;
    if (keyed && change.key.size() <= AccountId::size) in.reject();
    if (in.ok()) visit(change);
  }
  return in.ok();
}

/// An empty ".new" that is no earlier one: what a failed flush left in doubt is not used again.
Result<std::unique_ptr<File>> fresh_file(Disk& disk, const std::string& path) {
  if (auto done = disk.remove(path + ".new"); !done && done.error().code != Code::not_found) return fail(done.error());
  return disk.open(path + ".new", OpenMode::create_new);
}

/// Moves a whole, flushed ".new" to its name.
Result<> put_in_place(Disk& disk, const std::string& folder, const std::string& path) {
  if (auto done = disk.rename(path + ".new", path); !done) return done;
  return disk.sync_directory(folder);
}

}  // namespace

Bytes encode_changes(const std::vector<CatalogueChange>& changes) {
  Bytes bytes;
  Encoder out(bytes);
  for (const CatalogueChange& change : changes) {
    out.u8(static_cast<std::uint8_t>(change.kind));
    switch (change.kind) {
      case Kind::put:
        out.text(change.key);
        out.varint(change.id);
        out.varint(change.size);
        break;
      case Kind::trash:
        out.text(change.key);
        out.varint(change.id);
        out.varint(change.size);
        out.varint(change.clock_s);
        out.u8(static_cast<std::uint8_t>(change.reason));
        break;
      case Kind::forget:
        out.varint(change.id);
        out.varint(change.clock_s);
        break;
      case Kind::clock: out.varint(change.clock_s); break;
    }
  }
  return bytes;
}

std::string log_path(const std::string& folder, std::uint64_t number) {
  char name[32];
  std::snprintf(name, sizeof name, "/log-%016llx", static_cast<unsigned long long>(number));
  return folder + name;
}

Result<std::unique_ptr<CatalogueLog>> CatalogueLog::create(Disk& disk, const std::string& folder,
                                                           std::uint64_t number) {
  const std::string path = log_path(folder, number);
  auto file = fresh_file(disk, path);
  if (!file) return fail(file.error());
  Bytes content = encode_head(number);
  content.resize(static_cast<std::size_t>(end_for(head_bytes)));
  if (auto done = (*file)->write(0, content); !done) return fail(done.error());
  if (auto done = (*file)->sync(); !done) return fail(done.error());
  if (auto done = put_in_place(disk, folder, path); !done) return fail(done.error());
  return std::unique_ptr<CatalogueLog>(new CatalogueLog(std::move(*file), number, head_bytes, content.size()));
}

Result<std::uint64_t> CatalogueLog::replay(Disk& disk, const std::string& folder, std::uint64_t number,
                                           const Visit& visit, bool* whole) {
  const std::string path = log_path(folder, number);
  auto content = read_file(disk, path, log_bytes_max);
  if (!content) return fail(content.error());
  const Error damaged(Code::corrupt, path + " is damaged");
  const ByteView log(*content);
  if (log.size() < head_bytes) return fail(damaged);
  const Sum8 sum = sum8({log.first(head_bytes - sum_bytes)});
  if (!std::equal(sum.begin(), sum.end(), log.begin() + head_bytes - sum_bytes)) return fail(damaged);
  Decoder in(log);
  if (as_text(in.raw(8)) != head_magic) return fail(damaged);
  if (in.u32() != format)
    return fail(Code::newer_format, path + " was written by a newer version of Atoll", "use that version or a later one");
  (void)in.u32();
  if (in.u64() != number) return fail(damaged);

  std::uint64_t offset = head_bytes;
  while (auto batch = parse_batch(number, offset, log)) {
    if (!decode_changes(*batch, visit)) return fail(damaged);
    offset += batch_head_bytes + batch->size() + sum_bytes;
  }
  for (std::uint64_t at = offset + 1; at + batch_head_bytes + sum_bytes <= log.size(); ++at) {
    if (parse_batch(number, at, log)) return fail(damaged);  // a crash tears the last batch only
  }
  if (is_cut(offset, log) && !mutant("cut-log-whole")) return fail(damaged);
  *whole = std::all_of(log.begin() + static_cast<std::ptrdiff_t>(offset), log.end(), [](std::uint8_t byte) { return byte == 0; });
  return offset;
}

Result<std::unique_ptr<CatalogueLog>> CatalogueLog::renew(Disk& disk, const std::string& folder, std::uint64_t number,
                                                          std::uint64_t length) {
  const std::string path = log_path(folder, number);
  auto content = read_file(disk, path, log_bytes_max);
  if (!content) return fail(content.error());
  if (content->size() < length) return fail(Code::corrupt, path + " is damaged");
  content->resize(static_cast<std::size_t>(length));
  content->resize(static_cast<std::size_t>(end_for(length)));
  auto file = fresh_file(disk, path);
  if (!file) return fail(file.error());
  if (auto done = (*file)->write(0, *content); !done) return fail(done.error());
  if (auto done = (*file)->sync(); !done) return fail(done.error());
  if (auto done = put_in_place(disk, folder, path); !done) return fail(done.error());
  return std::unique_ptr<CatalogueLog>(new CatalogueLog(std::move(*file), number, length, content->size()));
}

Result<> CatalogueLog::append(ByteView changes) {
  Bytes head;
  Encoder out(head);
  out.u32(batch_magic);
  out.u32(static_cast<std::uint32_t>(changes.size()));
  const Sum8 sum = batch_sum(number_, length_, changes);
  const std::uint64_t behind = length_ + head.size() + changes.size() + sum.size();
  if (behind + room_min > end_) {
    const std::uint64_t end = end_for(behind);
    if (auto done = file_->write(end_, Bytes(static_cast<std::size_t>(end - end_))); !done) return done;
    if (auto done = file_->sync(); !done) return done;
    end_ = end;
  }
  const ByteView pieces[] = {head, changes, sum};
  if (auto done = file_->write_gather(length_, pieces); !done) return done;
  if (!mutant("catalogue-unflushed"))
    if (auto done = file_->sync(); !done) return done;
  length_ = behind;
  return {};
}

}  // namespace atl
