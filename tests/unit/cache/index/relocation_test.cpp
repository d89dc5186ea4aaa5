#include <catch2/catch.hpp>

#include <memory>

#include "cache/index/fold.h"
#include "cache/index/index_store.h"
#include "cache/index/tables.h"
#include "cache/journal/record.h"
#include "tests/support/memory_disk.h"

using namespace atl;

TEST_CASE("an extent is moved only from where it stands") {
  MemoryDisk disk;
  REQUIRE(disk.make_directory("/state"));
  const auto store = std::move(*IndexStore::create(disk, "/state/index.db"));
  Tables tables(*store);
  REQUIRE(fold(VolumeMade{}, tables));
  Written written;
  written.inode = InodeNumber(1);
  written.length = 5000;
  written.extent = ExtentId(7);
  written.segment = SegmentId(1);
  written.segment_offset = 8192;
  REQUIRE(fold(written, tables));
  const auto move = [&](std::uint64_t from, std::uint64_t old_offset, std::uint64_t to, std::uint64_t new_offset) {
    Relocated moved;
    moved.from = SegmentId(from);
    moved.to = SegmentId(to);
    moved.moves.push_back({ExtentId(7), old_offset, new_offset});
    REQUIRE(fold(moved, tables));
    return std::pair(tables.extent(ExtentId(7))->segment.value, tables.extent(ExtentId(7))->offset);
  };
  CHECK(move(1, 4096, 2, 64) == std::pair<std::uint64_t, std::uint64_t>(1, 8192));
  CHECK(move(3, 8192, 2, 64) == std::pair<std::uint64_t, std::uint64_t>(1, 8192));
  CHECK(tables.segments().at(SegmentId(1)).live_extents == 1);
  CHECK(move(1, 8192, 2, 64) == std::pair<std::uint64_t, std::uint64_t>(2, 64));
  CHECK(tables.segments().at(SegmentId(1)).live_extents == 0);
  // Two compactions that began at one moment: the second finds nothing any more.
  CHECK(move(1, 8192, 4, 64) == std::pair<std::uint64_t, std::uint64_t>(2, 64));
  CHECK(tables.segments().at(SegmentId(2)).live_extents == 1);
}
