// The rehearsal: it tells what would come back, and a difference that somebody planted.
#include "cache/recovery/drill.h"

#include <catch2/catch.hpp>

#include "tests/support/drive_fixture.h"

using namespace atl;

namespace {

struct Rehearsal : DriveFixture {
  Rehearsal() {
    for (int i = 0; i < 6; ++i) write(make_file(root_inode, "f" + std::to_string(i)).inode, 0, random.bytes(5'000 * i + 10));
    auto folder = drive->make_directory(root_inode, "folder", 0755, caller);
    REQUIRE(folder);
    write(make_file(folder->inode, "large").inode, 0, random.bytes(3'000'000));
    REQUIRE(drive->make_symlink(folder->inode, "link", "large", caller));
    REQUIRE(drive->set_xattr(folder->inode, "user.colour", as_bytes("blue"), SetXattrMode::create));
    sync_full();
    // What is told only a moment later: where the last shards lie.
    write(make_file(root_inode, "last").inode, 0, random.bytes(100));
    sync_full();
  }
  Result<DrillReport> drill(bool all = false) {
    const std::string place = "/drill" + std::to_string(++drills);
    REQUIRE(disk->make_directory(place));
    DrillOptions options;
    options.compare.all = all;
    return run_drill(seams(), place, *drive, keyring, engine, FakeEngine::specs(engine.all()), options, {}, {});
  }
  std::map<NodeId, std::map<std::string, Bytes>> objects() {
    std::map<NodeId, std::map<std::string, Bytes>> all;
    for (const auto& node : engine.all()) all[node.spec.id] = node.objects;
    return all;
  }
  std::string told(const DrillReport& report) {
    std::string text;
    for (const auto& difference : report.differences) text += difference.path + ": " + difference.what + "\n";
    return text;
  }
  int drills = 0;
};

}  // namespace

TEST_CASE("a drill of a healthy drive finds everything, and writes nothing to nodes", "[drill]") {
  Rehearsal world;
  const auto before = world.objects();
  for (const bool all : {false, true}) {
    const auto report = world.drill(all);
    INFO((report ? world.told(*report) : report.error().what));
    REQUIRE(report);
    CHECK(report->passed());
    CHECK(report->compared.names == 10);
    CHECK(report->compared.files == 8);
    CHECK(report->compared.bytes > (all ? 3'075'000u : 800'000u));
    CHECK(report->lost.untold.changes == 0);
    CHECK(report->survives >= 2);
    CHECK(report->segments_asked >= 1);
  }
  CHECK(world.objects() == before);
  CHECK(world.drive->status().epoch == 1);
}

TEST_CASE("a drill tells what would be lost now, and takes none of it for a difference", "[drill]") {
  Rehearsal world;
  const InodeNumber f1 = world.drive->lookup(root_inode, "f1")->inode;
  const InodeNumber folder = world.drive->lookup(root_inode, "folder")->inode;
  for (auto& node : world.engine.all()) node.full = true;  // nothing more gets there
  world.engine.changed();
  world.write(f1, 100, world.random.bytes(2'000));
  world.write(world.make_file(folder, "new").inode, 0, world.random.bytes(1'000));
  REQUIRE(world.drive->unlink(root_inode, "f2"));
  REQUIRE(world.drive->rename(root_inode, "f3", folder, "f3", RenameMode::replace));
  (void)world.read(world.drive->lookup(root_inode, "f4")->inode, 0, 10);  // its time of access
  world.runtime.advance(std::chrono::seconds(40));
  const auto report = world.drill(true);
  INFO((report ? world.told(*report) : report.error().what));
  REQUIRE(report);
  CHECK(report->passed());
  CHECK(report->lost.untold.files == 3);
  CHECK(report->lost.untold.bytes == 3'000);
  CHECK(report->lost.untold.changes >= 5);
  CHECK(report->lost_seconds >= 40);
}

TEST_CASE("a drill finds what is not as it was told", "[drill]") {
  Rehearsal world;
  SECTION("an older state that all nodes serve") {
    const auto old = world.objects();
    world.write(world.drive->lookup(root_inode, "f1")->inode, 0, world.random.bytes(50));
    world.sync_full();
    for (auto& node : world.engine.all()) node.objects = old.at(node.spec.id);
    const auto report = world.drill(true);
    INFO((report ? world.told(*report) : report.error().what));
    REQUIRE(report);
    CHECK(report->passed());  // this computer still has it, and says that it would be lost
    CHECK(report->lost.untold.changes > 0);
  }
  SECTION("shards that are gone or damaged") {
    for (auto& [name, bytes] : world.engine.all()[2].objects)
      if (bytes.size() > 100'000) bytes[20'000] ^= 1;
    for (auto& [name, bytes] : world.engine.all()[3].objects)
      if (bytes.size() > 100'000) bytes[20] ^= 1;
    const auto report = world.drill();
    INFO((report ? world.told(*report) : report.error().what));
    REQUIRE(report);
    CHECK(report->differences.empty());
    CHECK(report->bad_shards >= 1);
    CHECK(report->survives <= 2);
    CHECK_FALSE(report->passed());
  }
  SECTION("another drive's content under the same names") {
    Rehearsal other;
    // The same history but for one byte, so that names, sizes and inodes are alike.
    const std::string place = "/compared";
    Comparison::Options options;
    options.all = true;
    const InodeNumber f5 = world.drive->lookup(root_inode, "f5")->inode;
    Bytes was(25'010);
    REQUIRE(world.drive->read(f5, 0, was, false, {}));  // without a trace
    Changes none;
    Comparison same(*world.drive, *other.drive, world.random, options, {});
    REQUIRE(same.run(none, {}));
    std::uint64_t more = 0;
    CHECK(same.unexplained(none, more).empty());
    const Attributes before = *world.drive->attributes(f5);
    world.write(f5, 20'000, Bytes{static_cast<std::uint8_t>(was[20'000] ^ 1)});
    REQUIRE(world.drive->commit());
    AttributeChange times;
    times.mtime = before.mtime;
    times.ctime = before.ctime;
    REQUIRE(world.drive->change_attributes(f5, times));
    Comparison differs(*world.drive, *other.drive, world.random, options, {});
    REQUIRE(differs.run(none, {}));
    const auto found = differs.unexplained(none, more);
    REQUIRE(found.size() == 1);
    CHECK(found[0].path == "/f5");
    CHECK(found[0].what == "its content came back otherwise, from byte 20000 on");
  }
  SECTION("names, attributes and targets") {
    Rehearsal other;
    Changes none;
    std::uint64_t more = 0;
    const InodeNumber folder = world.drive->lookup(root_inode, "folder")->inode;
    REQUIRE(world.drive->set_xattr(folder, "user.colour", as_bytes("grey"), SetXattrMode::replace));
    REQUIRE(world.drive->unlink(folder, "link"));
    world.make_file(root_inode, "more");
    Comparison comparison(*world.drive, *other.drive, world.random, {}, {});
    REQUIRE(comparison.run(none, {}));
    const auto found = comparison.unexplained(none, more);
    const auto has = [&](const std::string& path) { return std::any_of(found.begin(), found.end(), [&](const auto& difference) { return difference.path == path; }); };
    CHECK(has("/folder"));
    CHECK(has("/folder/link"));
    CHECK(has("/more"));
    CHECK_FALSE(has("/f1"));
  }
  SECTION("nodes that give nothing") {
    for (auto& node : world.engine.all()) node.absent = true;
    const auto report = world.drill();
    REQUIRE_FALSE(report);
    CHECK(report.error().code == Code::too_few_nodes);
  }
}
