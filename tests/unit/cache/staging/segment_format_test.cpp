#include <rapidcheck.h>
#include <catch2/catch.hpp>

#include "cache/sealing/extent_sealer.h"
#include "cache/staging/segment_format.h"
#include "tests/support/memory_disk.h"
#include "tests/support/seeded_random.h"

namespace atl {
namespace {

using FrameBytes = std::array<std::uint8_t, frame_header_bytes>;

TEST_CASE("a frame header reads back as it was written, and no single flipped bit goes unnoticed") {
  CHECK(rc::check([] {
    FrameHeader header;
    header.extent = ExtentId(*rc::gen::arbitrary<std::uint64_t>());
    header.plain_bytes = *rc::gen::inRange<std::uint32_t>(1, extent_bytes_max + 1);
    header.epoch = *rc::gen::inRange<std::uint32_t>(0, 0x10000);
    FrameBytes bytes{};
    encode_frame_header(header, bytes);
    const auto back = decode_frame_header(bytes);
    RC_ASSERT(back.has_value());
    RC_ASSERT(back->extent == header.extent);
    RC_ASSERT(back->plain_bytes == header.plain_bytes);
    RC_ASSERT(back->epoch == header.epoch);
    for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
      FrameBytes flipped = bytes;
      flipped[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
      RC_ASSERT(!decode_frame_header(flipped).has_value());
    }
  }));
}

TEST_CASE("a frame header's bytes are what the format says") {
  FrameBytes bytes{};
  encode_frame_header({ExtentId(0x0102030405060708), 0x1234, 7}, bytes);
  CHECK(to_hex(ByteView(bytes).first(14)) ==
        "0807060504030201"
        "34120000"
        "0700");
  CHECK_FALSE(decode_frame_header(FrameBytes{}));
  CHECK_FALSE(decode_frame_header(ByteView(bytes).first(15)));
}

TEST_CASE("the length of a frame is never absurd") {
  for (const std::uint32_t length : {0u, extent_bytes_max + 1, 0xFFFFFFu}) {
    FrameBytes bytes{};
    encode_frame_header({ExtentId(1), length, 1}, bytes);
    const auto back = decode_frame_header(bytes);
    REQUIRE_FALSE(back);
    CHECK(back.error().code == Code::corrupt);
  }
}

TEST_CASE("a segment header of a newer version is told from a damaged one") {
  const VolumeId volume = SeededRandom(1).id<VolumeId>();
  const auto header = encode_segment_header(volume, SegmentId(5));
  REQUIRE(decode_segment_header(header, "f"));
  for (std::size_t at = 0; at < header.size(); ++at) {
    auto damaged = header;
    damaged[at] ^= 0x20;
    const auto back = decode_segment_header(damaged, "f");
    REQUIRE_FALSE(back);
    CHECK(back.error().code == Code::corrupt);
  }
  CHECK_FALSE(decode_segment_header(ByteView(header).first(63), "f"));
}

TEST_CASE("inspecting a segment shows every frame, also behind blanked ones, and ends at what is none") {
  MemoryDisk disk;
  auto file = std::move(*disk.open("/s.seg", OpenMode::create_new));
  const auto header = encode_segment_header(VolumeId(), SegmentId(5));
  REQUIRE(file->write(0, header));
  SeededRandom random(2);
  std::uint64_t at = segment_header_bytes;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> expected, seen;
  for (std::uint64_t i = 0; i < 60; ++i) {
    const ExtentId extent(i % 3 == 0 ? (i + 1) << 16 : i + 1);  // some ids begin with zero bytes
    const auto length = static_cast<std::uint32_t>(1 + random.below(i % 10 == 0 ? 100'000 : 500));
    const std::uint64_t bytes = frame_bytes(length);
    if (random.chance(0.3)) {
      REQUIRE(file->write(at, Bytes(bytes, 0)));
    } else {
      FrameBytes frame{};
      encode_frame_header({extent, length, 1}, frame);
      REQUIRE(file->write(at, frame));
      REQUIRE(file->write(at + frame_header_bytes, random.bytes(bytes - frame_header_bytes)));
      expected.emplace_back(at, extent.value);
    }
    at += bytes;
  }
  REQUIRE(file->write(at, random.bytes(300)));
  REQUIRE(inspect_segment_file(disk, "/s.seg", decode_frame_header, [&](std::uint64_t offset, const FrameHeader& frame) {
    seen.emplace_back(offset, frame.extent.value);
  }));
  CHECK(seen == expected);
  disk.damage("/s.seg", 3, Bytes(1, 0));
  CHECK(inspect_segment_file(disk, "/s.seg", decode_frame_header, [](std::uint64_t, const FrameHeader&) {}).error().code == Code::corrupt);
}

}  // namespace
}  // namespace atl
