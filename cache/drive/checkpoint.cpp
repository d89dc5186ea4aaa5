#include "cache/drive/checkpoint.h"

#include <sodium.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <optional>

#include "engine/base/codec.h"
#include "engine/base/mutant.h"

namespace atl {
namespace {

constexpr std::array<std::uint8_t, 8> magic = {'A', 'T', 'L', 'C', 'K', 'P', 'T', 0};
constexpr std::uint16_t version = 1;
constexpr std::size_t header_bytes = 64;  // magic 8 | version u16 | zeros 6 | volume 16 | LSN u64 | zeros 24
constexpr std::size_t hash_bytes = 32;
constexpr std::size_t block_bytes = 1u << 20;
constexpr std::size_t block_bytes_max = 8u << 20;

std::string file_name(Lsn lsn) {
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%020llu.ckpt", static_cast<unsigned long long>(lsn.value));
  return text.data();
}

class Hash {
 public:
  explicit Hash(const SecretKey& key) { crypto_generichash_init(&state_, key.data(), SecretKey::size, hash_bytes); }
  void add(ByteView bytes) { crypto_generichash_update(&state_, bytes.data(), bytes.size()); }
  std::array<std::uint8_t, hash_bytes> end() {
    std::array<std::uint8_t, hash_bytes> hash{};
    crypto_generichash_final(&state_, hash.data(), hash.size());
    return hash;
  }

 private:
  crypto_generichash_state state_;
};

Bytes header_of(const VolumeId& volume, Lsn lsn) {
  Bytes header;
  Encoder out(header);
  out.raw(magic);
  out.u16(version);
  header.resize(16);
  out.raw(volume.view());
  out.u64(lsn.value);
  header.resize(header_bytes);
  return header;
}

/// Appends to a file and to its hash.
struct Sink {
  File& file;
  Hash hash;
  std::uint64_t at = 0;

  Result<> put(ByteView bytes) {
    hash.add(bytes);
    return raw(bytes);
  }
  Result<> raw(ByteView bytes) {
    auto written = file.write(at, bytes);
    at += bytes.size();
    return written;
  }
  /// A block: compressed length u32, then a zstd frame.
  Result<> block(const Bytes& rows) {
    Bytes packed(4 + ZSTD_compressBound(rows.size()));
    const std::size_t count = ZSTD_compress(packed.data() + 4, packed.size() - 4, rows.data(), rows.size(), 3);
    if (ZSTD_isError(count)) return fail(Code::failed, std::string("compressing a checkpoint: ") + ZSTD_getErrorName(count));
    Bytes length;
    Encoder(length).u32(static_cast<std::uint32_t>(count));
    std::memcpy(packed.data(), length.data(), 4);
    packed.resize(4 + count);
    return put(packed);
  }
};

/// Newest first.
Result<std::vector<std::string>> checkpoint_files(Disk& disk, const std::string& directory) {
  auto there = disk.exists(directory);
  if (!there) return fail(there.error());
  if (!*there) return std::vector<std::string>{};
  auto names = disk.list(directory);
  if (!names) return fail(names.error());
  std::erase_if(*names, [](const std::string& name) { return name.size() != 25 || !name.ends_with(".ckpt"); });
  std::reverse(names->begin(), names->end());
  return names;
}

Result<Lsn> load_file(File& file, const std::string& path, IndexStore& index, const VolumeId& volume, const SecretKey& key) {
  const auto damaged = [&path](const char* why) { return fail(Code::corrupt, "the checkpoint " + path + " is damaged: " + why); };
  auto size = file.size();
  if (!size) return fail(size.error());
  if (*size < header_bytes + 4 + hash_bytes) return damaged("it is too short");
  const std::uint64_t end = *size - hash_bytes;
  const auto read = [&file](std::uint64_t at, std::size_t count) -> Result<Bytes> {
    Bytes bytes(count);
    auto got = file.read(at, bytes);
    if (!got) return fail(got.error());
    if (*got != count) return fail(Code::corrupt, "a checkpoint ends too early");
    return bytes;
  };
  auto header = read(0, header_bytes);
  if (!header) return fail(header.error());
  if (std::memcmp(header->data(), magic.data(), magic.size()) != 0) return damaged("it does not begin like one");
  Decoder in(ByteView(*header).subspan(magic.size()));
  if (const std::uint16_t found = in.u16(); found > version) {
    return fail(Code::newer_format, "the checkpoint " + path + " has format " + std::to_string(found), "use the version of atoll that wrote it");
  }
  (void)in.raw(6);
  if (in.id<VolumeId>() != volume) return fail(Code::key, "the checkpoint " + path + " is of another drive");
  const Lsn lsn(in.u64());

  // The hash first: not a row is loaded from a file that is not whole.
  Hash hash(key);
  for (std::uint64_t at = header_bytes; at < end;) {
    auto part = read(at, static_cast<std::size_t>(std::min<std::uint64_t>(block_bytes, end - at)));
    if (!part) return fail(part.error());
    hash.add(*part);
    at += part->size();
  }
  hash.add(*header);
  auto stored = read(end, hash_bytes);
  if (!stored) return fail(stored.error());
  if (sodium_memcmp(hash.end().data(), stored->data(), hash_bytes) != 0 && !mutant("checkpoint-unhashed")) return damaged("its hash does not fit");

  for (std::uint64_t at = header_bytes; at < end;) {
    auto length = read(at, 4);
    if (!length) return fail(length.error());
    const std::uint32_t count = Decoder(*length).u32();
    if (count > end - at - 4 || count > block_bytes_max) return damaged("a block is too long");
    auto packed = read(at + 4, count);
    if (!packed) return fail(packed.error());
    const unsigned long long plain = ZSTD_getFrameContentSize(packed->data(), packed->size());
    if (plain > block_bytes_max) return damaged("a block is too long");
    Bytes rows(static_cast<std::size_t>(plain));
    const std::size_t unpacked = ZSTD_decompress(rows.data(), rows.size(), packed->data(), packed->size());
    if (ZSTD_isError(unpacked) || unpacked != rows.size()) return damaged("a block cannot be unpacked");
    Decoder block(rows);
    while (block.ok() && block.remaining() > 0) {
      const std::string_view table = block.text();
      const ByteView row_key = block.blob();
      const ByteView row = block.blob();
      if (!block.ok()) return damaged("a row is malformed");
      if (auto r = index.load(table, row_key, row); !r) return fail(r.error());
    }
    at += 4 + count;
  }
  return lsn;
}

}  // namespace

Result<WrittenCheckpoint> write_checkpoint(Disk& disk, const std::string& directory, IndexStore& index, const VolumeId& volume, const SecretKey& key) {
  if (auto r = disk.make_directory(directory); !r) return fail(r.error());
  const std::string temporary = directory + "/new";
  auto file = disk.open(temporary, OpenMode::create);
  if (!file) return fail(file.error());
  if (auto r = (*file)->truncate(0); !r) return fail(r.error());
  // The LSN is known only when all rows are read: the hash covers the blocks, then the header.
  Sink sink{**file, Hash(key), header_bytes};
  Bytes rows;
  auto lsn = index.dump([&](std::string_view table, ByteView row_key, ByteView row) -> Result<> {
    Encoder out(rows);
    out.text(table);
    out.blob(row_key);
    out.blob(row);
    if (rows.size() < block_bytes) return {};
    auto put = sink.block(rows);
    rows.clear();
    return put;
  });
  if (!lsn) return fail(lsn.error());
  if (auto r = sink.block(rows); !r) return fail(r.error());
  const Bytes header = header_of(volume, *lsn);
  if (auto r = (*file)->write(0, header); !r) return fail(r.error());
  sink.hash.add(header);
  const auto hash = sink.hash.end();
  if (auto r = sink.raw(hash); !r) return fail(r.error());
  if (auto r = (*file)->sync(); !r) return fail(r.error());
  file->reset();
  auto older = checkpoint_files(disk, directory);
  if (!older) return fail(older.error());
  if (mutant("checkpoint-dropped-early"))
    for (const std::string& name : *older) (void)disk.remove(directory + "/" + name);
  if (auto r = disk.rename(temporary, directory + "/" + file_name(*lsn)); !r) return fail(r.error());
  if (auto r = disk.sync_directory(directory); !r) return fail(r.error());
  for (const std::string& name : *older)
    if (name != file_name(*lsn)) (void)disk.remove(directory + "/" + name);  // a leftover costs space only
  return WrittenCheckpoint{*lsn, sink.at};
}

Result<Lsn> load_checkpoint(Disk& disk, const std::string& directory, IndexStore& index, const VolumeId& volume, const SecretKey& key) {
  auto names = checkpoint_files(disk, directory);
  if (!names) return fail(names.error());
  if (names->empty()) return Lsn{};
  std::optional<Error> first;
  for (const std::string& name : *names) {
    const std::string path = directory + "/" + name;
    auto file = disk.open(path, OpenMode::read);
    if (!file) return fail(file.error());
    if (auto r = index.begin_load(); !r) return fail(r.error());
    auto lsn = load_file(**file, path, index, volume, key);
    if (lsn) {
      if (auto r = index.end_load(*lsn); !r) return fail(r.error());
      return lsn;
    }
    if (auto r = index.abandon_load(); !r) return fail(r.error());
    if (lsn.error().code != Code::corrupt) return lsn;
    if (!first) first = lsn.error();
  }
  return fail(*first);
}

}  // namespace atl
