#include "cache/staging/cache_index.h"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <utility>

#include "engine/base/codec.h"

namespace atl {
namespace {

constexpr std::string_view magic = "ATLCACHE";
constexpr std::uint16_t version = 1;
constexpr unsigned word_bits = 64;

using Hash = std::array<std::uint8_t, crypto_generichash_BYTES>;

Hash hash_of(ByteView bytes) {
  Hash hash;
  crypto_generichash(hash.data(), hash.size(), bytes.data(), bytes.size(), nullptr, 0);
  return hash;
}

}  // namespace

std::size_t cache_block_words(std::uint64_t size) {
  const std::uint64_t blocks = (size + cache_block_bytes - 1) / cache_block_bytes;
  return static_cast<std::size_t>((blocks + word_bits - 1) / word_bits);
}

Bytes encode_cache_index(const VolumeId& volume, const std::vector<CachedFileNote>& notes) {
  Bytes out;
  Encoder encoder(out);
  encoder.raw(as_bytes(magic));
  encoder.u16(version);
  encoder.id(volume);
  encoder.varint(notes.size());
  for (const auto& note : notes) {
    encoder.id(note.id);
    encoder.varint(note.size);
    encoder.u8(note.whole ? 1 : 0);
    encoder.varint(note.blocks.size() * sizeof(std::uint64_t));
    for (const auto word : note.blocks) encoder.u64(word);
  }
  encoder.raw(hash_of(out));
  return out;
}

std::optional<std::vector<CachedFileNote>> decode_cache_index(ByteView bytes, const VolumeId& volume) {
  if (bytes.size() < sizeof(Hash)) return std::nullopt;
  const ByteView hashed = bytes.first(bytes.size() - sizeof(Hash));
  if (!std::ranges::equal(hash_of(hashed), bytes.subspan(hashed.size()))) return std::nullopt;
  Decoder decoder(hashed);
  if (!std::ranges::equal(decoder.raw(magic.size()), as_bytes(magic)) || decoder.u16() != version ||
      decoder.id<VolumeId>() != volume)
    return std::nullopt;
  std::vector<CachedFileNote> notes;
  for (std::uint64_t count = decoder.varint(); count > 0 && decoder.ok(); --count) {
    CachedFileNote note;
    note.id = decoder.id<SegmentId>();
    note.size = decoder.varint();
    note.whole = decoder.u8() != 0;
    Decoder words(decoder.blob());
    while (words.remaining() > 0) note.blocks.push_back(words.u64());
    if (!words.ok() || note.blocks.size() != (note.whole ? 0 : cache_block_words(note.size))) return std::nullopt;
    notes.push_back(std::move(note));
  }
  if (!decoder.done()) return std::nullopt;
  return notes;
}

}  // namespace atl
