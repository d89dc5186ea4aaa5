// Segments count as protected when r shards are durable, whatever the slowest node does.
#include <catch2/catch.hpp>

#include "tests/support/drive_fixture.h"

using namespace atl;
using namespace std::chrono_literals;

namespace {

Result<> sync_to(DriveFixture& f, SyncLevel level, Duration bound) {
  return f.drive->sync(level, f.runtime.clock().now() + bound, {}, {});
}

}  // namespace

TEST_CASE("What r nodes have is protected at once, though the last node never answers") {
  DriveFixture f;
  f.engine.all()[2].hangs = true;
  const Bytes content = f.random.bytes(300'000);
  const Attributes file = f.make_file(root_inode, "file");
  f.write(file.inode, 0, content);
  REQUIRE(sync_to(f, SyncLevel::protected_, 1min));
  CHECK(sync_to(f, SyncLevel::full, 1min).error().code == Code::timed_out);
  // Another computer needs no more than that.
  f.crash(7);
  f.open();
  REQUIRE(sync_to(f, SyncLevel::protected_, 1min));
}

TEST_CASE("Segments that only a slow node holds back do not hold up the next, and become full when it answers") {
  DriveOptions options;
  options.staging_max = 1ull << 30;
  options.gc_grace = 0s;
  DriveFixture f({3, 6}, options);
  f.engine.all()[2].hangs = true;
  const Attributes file = f.make_file(root_inode, "large");
  std::vector<Bytes> parts;
  for (std::uint64_t i = 0; i < 7; ++i) {
    parts.push_back(f.random.bytes(32u << 20));
    f.write(file.inode, i << 25, parts.back());
  }
  REQUIRE(sync_to(f, SyncLevel::protected_, 10min));
  f.close();
  f.engine.all()[2].hangs = false;
  f.open();
  f.sync_full();
  // What the node had been sent before is its shard's home now: removing garbage takes nothing away.
  REQUIRE(f.drive->collect_garbage(true, {}));
  for (const std::size_t gone : {0, 1, 3}) f.engine.all()[gone].absent = true;
  REQUIRE(f.drive->drop_cache());
  for (std::uint64_t i = 0; i < 7; ++i) CHECK(f.read(file.inode, i << 25, 1 << 20) == Bytes(parts[i].begin(), parts[i].begin() + (1 << 20)));
}

TEST_CASE("A save after a pause is on the nodes within two seconds; those that follow it share a segment") {
  DriveFixture f;
  f.runtime.advance(60s);
  const auto shipped = [&] { return f.drive->status().counters.at("segments_shipped"); };
  const Attributes file = f.make_file(root_inode, "file");
  f.write(file.inode, 0, f.random.bytes(4096));
  f.runtime.advance(1999ms);
  CHECK(shipped() == 1);
  CHECK(f.drive->status().staged_bytes == 0);
  for (std::uint64_t i = 1; i <= 8; ++i) {
    f.write(file.inode, i * 4096, f.random.bytes(4096));
    f.runtime.advance(500ms);
  }
  CHECK(shipped() == 1);
  f.runtime.advance(3s);
  CHECK(shipped() == 2);
  CHECK(f.drive->status().staged_bytes == 0);
}
