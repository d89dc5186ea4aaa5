#include "cache/staging/segment_format.h"

#include <sodium.h>

#include <algorithm>
#include <cassert>

#include "cache/erasure/shard_codec.h"
#include "cache/sealing/extent_sealer.h"
#include "engine/base/codec.h"

namespace atl {
namespace {

constexpr std::string_view magic = "ATLSEGMT";
constexpr std::size_t hash_offset = 56;
constexpr std::uint32_t length_mask = 0x00FFFFFF;

using Hash = std::array<std::uint8_t, crypto_generichash_BYTES>;

Hash hash_of(ByteView bytes) {
  Hash hash;
  crypto_generichash(hash.data(), hash.size(), bytes.data(), bytes.size(), nullptr, 0);
  return hash;
}

/// CRC-16/CCITT-FALSE: polynomial 0x1021, from 0xFFFF, not reflected.
std::uint16_t crc16(ByteView bytes) {
  std::uint32_t crc = 0xFFFF;
  for (const std::uint8_t byte : bytes) {
    crc ^= static_cast<std::uint32_t>(byte) << 8;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 0x8000) != 0 ? (crc << 1 ^ 0x1021) & 0xFFFF : crc << 1;
  }
  return static_cast<std::uint16_t>(crc);
}

}  // namespace

std::array<std::uint8_t, segment_header_bytes> encode_segment_header(const VolumeId& volume, SegmentId id) {
  Bytes out;
  Encoder encoder(out);
  encoder.raw(as_bytes(magic));
  encoder.u16(segment_format_version);
  out.resize(16);
  encoder.raw(volume.bytes);
  encoder.u64(id.value);
  out.resize(hash_offset);
  encoder.raw(ByteView(hash_of(out)).first(segment_header_bytes - hash_offset));
  std::array<std::uint8_t, segment_header_bytes> header{};
  std::ranges::copy(out, header.begin());
  return header;
}

Result<SegmentHeader> decode_segment_header(ByteView bytes, const std::string& path) {
  const auto damaged = [&] { return fail(Code::corrupt, "the segment file " + path + " has a damaged header"); };
  if (bytes.size() < segment_header_bytes) return damaged();
  bytes = bytes.first(segment_header_bytes);
  if (!std::ranges::equal(bytes.first(magic.size()), as_bytes(magic))) return damaged();
  const Hash hash = hash_of(bytes.first(hash_offset));
  if (!std::ranges::equal(ByteView(hash).first(segment_header_bytes - hash_offset), bytes.subspan(hash_offset)))
    return damaged();
  Decoder decoder(bytes.subspan(magic.size()));
  const std::uint16_t version = decoder.u16();
  if (version > segment_format_version)
    return fail(Code::newer_format,
                "the segment file " + path + " has format " + std::to_string(version) + ", this program knows " +
                    std::to_string(segment_format_version),
                "use the newer version of atoll that wrote it");
  decoder.raw(6);
  SegmentHeader header;
  header.volume = decoder.id<VolumeId>();
  header.id = SegmentId(decoder.u64());
  return header;
}

void encode_frame_header(const FrameHeader& header, std::span<std::uint8_t, frame_header_bytes> out) {
  assert(header.plain_bytes <= length_mask && header.epoch <= 0xFFFF);
  Bytes bytes;
  bytes.reserve(frame_header_bytes);
  Encoder encoder(bytes);
  encoder.u64(header.extent.value);
  encoder.u32(header.plain_bytes);
  encoder.u16(static_cast<std::uint16_t>(header.epoch));
  encoder.u16(crc16(bytes));
  std::ranges::copy(bytes, out.begin());
}

Result<FrameHeader> decode_frame_header(ByteView bytes) {
  constexpr std::size_t check_offset = frame_header_bytes - 2;
  Decoder decoder(bytes);
  FrameHeader header;
  header.extent = ExtentId(decoder.u64());
  const std::uint32_t length_and_flags = decoder.u32();
  header.plain_bytes = length_and_flags & length_mask;
  header.epoch = decoder.u16();
  const std::uint16_t check = decoder.u16();
  // What cannot be is told by its length mostly: who looks for frames in noise asks at every eighth byte.
  if (!decoder.ok() || length_and_flags != header.plain_bytes || header.plain_bytes == 0 ||
      header.plain_bytes > extent_bytes_max || check != crc16(bytes.first(check_offset)))
    return fail(Code::corrupt, "no frame header stands here");
  return header;
}

std::uint64_t frame_bytes(std::uint32_t plain_bytes) {
  return (std::uint64_t{frame_header_bytes} + plain_bytes + seal_overhead_bytes + 7) / 8 * 8;
}

Result<> inspect_segment_file(Disk& disk, const std::string& path,
                              const std::function<Result<FrameHeader>(ByteView)>& open,
                              const std::function<void(std::uint64_t offset, const FrameHeader&)>& visit) {
  auto file = disk.open(path, OpenMode::read);
  if (!file) return fail(file.error());
  auto size = (*file)->size();
  if (!size) return fail(size.error());
  if (*size > segment_header_bytes + segment_bytes_max) return fail(Code::corrupt, path + " is longer than a segment can be");
  Bytes bytes(*size);
  auto count = (*file)->read(0, bytes);
  if (!count) return fail(count.error());
  bytes.resize(*count);
  auto header = decode_segment_header(ByteView(bytes).first(std::min<std::size_t>(bytes.size(), segment_header_bytes)), path);
  if (!header) return fail(header.error());
  for (std::uint64_t at = segment_header_bytes; at + frame_header_bytes <= bytes.size();) {
    const auto frame = open(ByteView(bytes).subspan(at, frame_header_bytes));
    if (frame && at + frame_bytes(frame->plain_bytes) <= bytes.size()) {
      visit(at, *frame);
      at += frame_bytes(frame->plain_bytes);
    } else {
      at += 8;
    }
  }
  return {};
}

}  // namespace atl
