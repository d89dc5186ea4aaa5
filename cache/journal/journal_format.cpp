#include "cache/journal/journal_format.h"

#include <sodium.h>

#include <algorithm>

#include "engine/base/codec.h"

namespace atl {
namespace {

constexpr std::string_view file_magic = "ATLJOURN";
constexpr std::size_t key_check_offset = 80;
constexpr std::size_t file_hash_offset = 96;
constexpr std::size_t plain_hash_offset = 120;
constexpr std::size_t header_hash_offset = 56;

ChainHash keyed_hash(const SecretKey& key, ByteView bytes) {
  ChainHash hash;
  crypto_generichash(hash.data(), hash.size(), bytes.data(), bytes.size(), key.data(), SecretKey::size);
  return hash;
}

ChainHash plain_hash(ByteView bytes) {
  ChainHash hash;
  crypto_generichash(hash.data(), hash.size(), bytes.data(), bytes.size(), nullptr, 0);
  return hash;
}

bool starts_with(const ChainHash& hash, ByteView prefix) {
  return sodium_memcmp(hash.data(), prefix.data(), prefix.size()) == 0;
}

/// The hash of a purpose within this format: no two purposes hash the same text.
ChainHash tagged(const SecretKey& key, std::string_view tag, const VolumeId& volume) {
  Bytes text(tag.begin(), tag.end());
  text.insert(text.end(), volume.bytes.begin(), volume.bytes.end());
  return keyed_hash(key, text);
}

SecretKey derived(const SecretKey& journal_key, const VolumeId& volume) {
  ChainHash raw = tagged(journal_key, "atoll journal chain", volume);
  SecretKey key = SecretKey::from(raw);
  sodium_memzero(raw.data(), raw.size());
  return key;
}

}  // namespace

JournalCodec::JournalCodec(const SecretKey& journal_key, const VolumeId& volume)
    : key_(derived(journal_key, volume)), volume_(volume) {}

ChainHash JournalCodec::genesis() const {
  return tagged(key_, "genesis", volume_);
}

Bytes JournalCodec::encode_file_header(const JournalFileHeader& header) const {
  Bytes out;
  Encoder encoder(out);
  encoder.raw(as_bytes(file_magic));
  encoder.u16(journal_format_version);
  encoder.u16(0);
  encoder.u32(0);
  encoder.raw(volume_.bytes);
  encoder.u64(header.file_bytes);
  encoder.u64(header.first.value);
  encoder.raw(header.previous);
  encoder.raw(ByteView(tagged(key_, "key check", volume_)).first(file_hash_offset - key_check_offset));
  encoder.raw(ByteView(keyed_hash(key_, out)).first(plain_hash_offset - file_hash_offset));
  encoder.raw(ByteView(plain_hash(out)).first(journal_file_header_bytes - plain_hash_offset));
  return out;
}

Result<JournalFileHeader> JournalCodec::decode_file_header(ByteView bytes, const std::string& path) const {
  const auto damaged = [&] {
    return fail(Code::corrupt, "the journal file " + path + " has a damaged header",
                "restore the file from a copy, or recover the drive from its nodes");
  };
  if (bytes.size() < journal_file_header_bytes) return damaged();
  bytes = bytes.first(journal_file_header_bytes);
  if (!std::ranges::equal(bytes.first(file_magic.size()), as_bytes(file_magic))) return damaged();
  if (!starts_with(plain_hash(bytes.first(plain_hash_offset)), bytes.subspan(plain_hash_offset))) return damaged();

  Decoder decoder(bytes.subspan(file_magic.size()));
  const std::uint16_t version = decoder.u16();
  if (version > journal_format_version)
    return fail(Code::newer_format,
                "the journal file " + path + " has format " + std::to_string(version) + ", this program knows " +
                    std::to_string(journal_format_version),
                "use the newer version of atoll that wrote it");
  if (version == 0) return damaged();
  decoder.u16();
  decoder.u32();
  const auto volume = decoder.id<VolumeId>();
  JournalFileHeader header;
  header.file_bytes = decoder.u64();
  header.first = Lsn(decoder.u64());
  const ByteView previous = decoder.raw(header.previous.size());
  std::ranges::copy(previous, header.previous.begin());
  const ByteView key_check = decoder.raw(file_hash_offset - key_check_offset);
  if (volume != volume_ || !starts_with(tagged(key_, "key check", volume_), key_check))
    return fail(Code::key, "the journal file " + path + " belongs to another drive or key",
                "check that the state folder and the key are of the same drive");
  const auto hash = bytes.subspan(file_hash_offset, plain_hash_offset - file_hash_offset);
  if (!starts_with(keyed_hash(key_, bytes.first(file_hash_offset)), hash)) return damaged();
  return header;
}

ChainHash JournalCodec::encode_batch(Lsn first, std::uint32_t count, const ChainHash& previous, ByteView body,
                                     Bytes& out) const {
  out.clear();
  out.reserve(batch_bytes(body.size()));
  Encoder encoder(out);
  encoder.u32(journal_batch_magic);
  encoder.u32(static_cast<std::uint32_t>(body.size()));
  encoder.u64(first.value);
  encoder.u32(count);
  encoder.u32(0);
  encoder.raw(previous);
  encoder.raw(ByteView(keyed_hash(key_, out)).first(journal_batch_header_bytes - header_hash_offset));
  encoder.raw(body);
  const ChainHash chain = keyed_hash(key_, out);
  encoder.raw(chain);
  out.resize(batch_bytes(body.size()));
  return chain;
}

std::optional<JournalBatchHeader> JournalCodec::decode_batch_header(ByteView bytes) const {
  if (bytes.size() < journal_batch_header_bytes) return std::nullopt;
  Decoder decoder(bytes.first(journal_batch_header_bytes));
  if (decoder.u32() != journal_batch_magic) return std::nullopt;
  JournalBatchHeader header;
  header.body_bytes = decoder.u32();
  header.first = Lsn(decoder.u64());
  header.count = decoder.u32();
  decoder.u32();
  std::ranges::copy(decoder.raw(header.previous.size()), header.previous.begin());
  if (!starts_with(keyed_hash(key_, bytes.first(header_hash_offset)),
                   bytes.subspan(header_hash_offset, journal_batch_header_bytes - header_hash_offset)))
    return std::nullopt;
  return header;
}

std::optional<ChainHash> JournalCodec::verify_batch(ByteView batch) const {
  const std::size_t hashed = batch.size() - sizeof(ChainHash);
  const ChainHash chain = keyed_hash(key_, batch.first(hashed));
  if (!starts_with(chain, batch.subspan(hashed))) return std::nullopt;
  return chain;
}

}  // namespace atl
