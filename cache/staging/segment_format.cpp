#include "cache/staging/segment_format.h"

#include <sodium.h>

#include <algorithm>
#include <cassert>
#include <optional>
#include <utility>

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
  if (!decoder.ok() || check != crc16(bytes.first(check_offset)))
    return fail(Code::corrupt, "no frame header stands here");
  if (length_and_flags != header.plain_bytes || header.plain_bytes == 0 || header.plain_bytes > extent_bytes_max)
    return fail(Code::corrupt, "a frame header with a length or flags that cannot be");
  return header;
}

namespace {

using FoundFrame = std::pair<std::uint64_t, FrameHeader>;

std::uint64_t frame_bytes_of(const FrameHeader& header) {
  return std::uint64_t{frame_header_bytes} + header.plain_bytes + seal_overhead_bytes;
}

/// The frame at `offset`, or behind the zeros that begin there; absent if something else stands there.
Result<std::optional<FoundFrame>> frame_at_or_after(File& file, std::uint64_t offset, std::uint64_t size) {
  constexpr std::size_t window_bytes = 64 * 1024;
  Bytes window(window_bytes);
  const std::optional<FoundFrame> none;
  while (offset < size) {
    auto count = file.read(offset, window);
    if (!count) return fail(count.error());
    const auto begin = window.begin(), end = begin + static_cast<std::ptrdiff_t>(*count);
    const auto zeros = static_cast<std::size_t>(std::find_if(begin, end, [](auto byte) { return byte != 0; }) - begin);
    if (zeros + frame_header_bytes > *count) {
      if (zeros <= sizeof(std::uint64_t)) return none;  // too short for a frame
      offset += zeros - sizeof(std::uint64_t);          // an extent id may begin with zeros
      continue;
    }
    const std::size_t first = zeros - std::min(zeros, sizeof(std::uint64_t) - 1);
    for (std::size_t at = first; at <= zeros; ++at) {
      const auto header = decode_frame_header(ByteView(window).subspan(at, frame_header_bytes));
      if (header && offset + at + frame_bytes_of(*header) <= size)
        return std::optional<FoundFrame>(FoundFrame(offset + at, *header));
    }
    return none;
  }
  return none;
}

}  // namespace

Result<> inspect_segment_file(Disk& disk, const std::string& path,
                              const std::function<void(std::uint64_t offset, const FrameHeader&)>& visit) {
  auto file = disk.open(path, OpenMode::read);
  if (!file) return fail(file.error());
  Bytes bytes(segment_header_bytes);
  auto count = (*file)->read(0, bytes);
  if (!count) return fail(count.error());
  if (auto header = decode_segment_header(ByteView(bytes).first(*count), path); !header) return fail(header.error());
  auto size = (*file)->size();
  if (!size) return fail(size.error());
  for (std::uint64_t offset = segment_header_bytes; offset < *size;) {
    auto frame = frame_at_or_after(**file, offset, *size);
    if (!frame) return fail(frame.error());
    if (!*frame) break;
    visit((*frame)->first, (*frame)->second);
    offset = (*frame)->first + frame_bytes_of((*frame)->second);
  }
  return {};
}

}  // namespace atl
