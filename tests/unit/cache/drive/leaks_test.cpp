// What lies on nodes and what records name are the same in the end: nothing is left behind, and nothing goes too early.
#include "tests/support/effort.h"
#include "tests/unit/cache/care/cared.h"

using namespace atl;
using std::chrono::minutes;

TEST_CASE("whatever the power takes amid an upload, nothing is left on nodes that no record names") {
  const auto seed = GENERATE(range<std::uint64_t>(1, effort(31, 11)));
  CAPTURE(seed);
  Cared f({3, 6}, 0, seed);
  f.write(f.file, 0, f.content = f.random.bytes(2u << 20));
  f.disk->power_off_at(seed);
  (void)f.drive->sync(SyncLevel::full, f.runtime.clock().now() + minutes(1), {}, {});
  f.crash(seed);
  f.open();
  f.sync_full();
  f.step(minutes(5));
  REQUIRE(f.drive->collect_garbage(true, {}));
  const auto [objects, homes] = f.objects_and_homes();
  CHECK(objects == homes);
}

TEST_CASE("an upload that the power cuts off as it begins is known afterwards, and leaves nothing on nodes") {
  Cared f({3, 6}, 0);
  std::unique_ptr<MemoryDisk> left;
  f.engine.on_upload = [&] {
    if (left) return;
    left = f.disk->crash(MemoryDisk::Unflushed::drop);
    f.disk->power_off_at(1);  // what is on its way to the nodes still lands there
  };
  f.write(f.file, 0, f.content = f.random.bytes(2u << 20));
  (void)f.drive->sync(SyncLevel::full, f.runtime.clock().now() + minutes(1), {}, {});
  f.runtime.run_until_idle();
  REQUIRE(left);
  REQUIRE(f.objects_and_homes().first >= 12);
  f.engine.on_upload = nullptr;
  f.crash(0);
  f.disk = std::move(left);
  f.open();
  f.sync_full();
  f.step(minutes(5));
  REQUIRE(f.drive->collect_garbage(true, {}));
  const auto [objects, homes] = f.objects_and_homes();
  CHECK(objects == homes);
}

TEST_CASE("objects that became garbage stay for their grace") {
  DriveOptions options;
  options.gc_grace = minutes(60);
  Cared f({3, 6}, 0, 1, options);
  const std::size_t held = f.objects_and_homes().first;
  REQUIRE(held >= 6);
  REQUIRE(f.drive->unlink(root_inode, "file"));
  f.drive->forget(f.file, 1'000'000);
  f.sync_full();
  f.step(minutes(50));
  CHECK(f.objects_and_homes() == std::pair<std::size_t, std::size_t>(held, 0));
  f.step(minutes(30));
  CHECK(f.objects_and_homes().first == 0);
}

TEST_CASE("a node that refuses what is put, as a full one does, does not keep garbage from going") {
  DriveOptions options;
  options.gc_grace = minutes(1);
  Cared f({3, 6}, 0, 1, options);
  REQUIRE(f.objects_and_homes().first >= 6);
  f.engine.all()[2].refuses = true;
  REQUIRE(f.drive->unlink(root_inode, "file"));
  f.drive->forget(f.file, 1'000'000);
  f.step(minutes(10));
  CHECK(f.objects_and_homes().first == 0);
}

TEST_CASE("the bytes of a deleted file stay here until its end is durable") {
  for (std::uint64_t change = 1; change <= 8; ++change) {
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
      CAPTURE(change, seed);
      DriveFixture f;
      for (auto& node : f.engine.all()) node.absent = true;
      const InodeNumber file = f.make_file(root_inode, "file").inode;
      const Bytes content = f.random.bytes(30'000);
      f.write(file, 0, content);
      REQUIRE(f.drive->commit());
      f.runtime.advance(std::chrono::seconds(10));  // its segment is finished for age
      REQUIRE(f.drive->unlink(root_inode, "file"));
      f.drive->forget(file, 1'000'000);
      f.disk->power_off_at(change);
      f.runtime.advance(std::chrono::seconds(2));
      f.crash(seed);
      f.open(false);
      if (const auto found = f.drive->lookup(root_inode, "file")) CHECK(f.read(found->inode, 0, content.size()) == content);
    }
  }
}
