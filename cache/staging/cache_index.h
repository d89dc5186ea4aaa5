// What the cached files held when the store was closed, in the order of their last use: cache/index. It is used once,
// after a clean close, and removed before anything changes; without it only whole files are kept. Pure functions.
//
//   0 magic "ATLCACHE" | 8 version u16 | 10 volume 16 | count varint
//   for each, least recently used first: id varint, size varint, whole u8, blocks blob (bit i: block i; none if whole)
//   BLAKE2b of all before, 32 bytes
#pragma once

#include <optional>
#include <vector>

#include "cache/staging/segment_store.h"

namespace atl {

struct CachedFileNote {
  SegmentId id;
  std::uint64_t size = 0;
  bool whole = false;
  std::vector<std::uint64_t> blocks;  // 64 to a word, low bit first
};

/// Words that the blocks of a segment take.
std::size_t cache_block_words(std::uint64_t size);

Bytes encode_cache_index(const VolumeId& volume, const std::vector<CachedFileNote>& notes);
/// Absent if the bytes are damaged, of another volume or version: the cache is then the poorer, nothing more.
std::optional<std::vector<CachedFileNote>> decode_cache_index(ByteView bytes, const VolumeId& volume);

}  // namespace atl
