// The bytes of a segment: its header and the headers of its frames (FORMAT.md, "Segment"). Integers are little-endian.
//
// Segment header, 64 bytes:
//   0 magic "ATLSEGMT" | 8 version u16 | 10 zeros 6 | 16 volume 16 | 32 segment id u64 | 40 zeros 16
//   56 BLAKE2b of [0, 56), 8 bytes
// Frame, one behind the other from byte 64 on:
//   0 extent id u64 | 8 plain bytes u32, of which the top 8 bits are flags (0) | 12 key epoch u16
//   14 CRC-16/CCITT-FALSE of [0, 14) | 16 sealed extent: plain bytes + 40
// The header is no secret and no proof: extents are opened with their AEAD. Pure functions; thread-safe.
#pragma once

#include <array>
#include <string>

#include "cache/staging/segment_store.h"

namespace atl {

inline constexpr std::uint16_t segment_format_version = 1;

std::array<std::uint8_t, segment_header_bytes> encode_segment_header(const VolumeId& volume, SegmentId id);

struct SegmentHeader {
  VolumeId volume;
  SegmentId id;
};
/// Code::newer_format, corrupt; both name `path`.
Result<SegmentHeader> decode_segment_header(ByteView bytes, const std::string& path);

}  // namespace atl
