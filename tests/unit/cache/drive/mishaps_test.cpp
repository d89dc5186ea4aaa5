#include <map>

#include "cache/staging/segment_store.h"
#include "tests/support/drive_fixture.h"

using namespace atl;

namespace {

std::vector<std::string> files_below(const MemoryDisk& disk, const std::string& part) {
  std::vector<std::string> paths;
  for (const auto& [path, content] : disk.snapshot())
    if (path.find(part) != std::string::npos) paths.push_back(path);
  return paths;
}

}  // namespace

TEST_CASE("with one node away a file larger than staging is written, and becomes full when the node is back") {
  DriveOptions options;
  options.staging_max = 100u << 20;
  DriveFixture f({3, 6}, options);
  f.engine.all()[2].absent = true;
  const Attributes file = f.make_file(root_inode, "large");
  const Bytes part = f.random.bytes(1 << 20);
  for (std::uint64_t i = 0; i < 200; ++i) f.write(file.inode, i << 20, part);
  CHECK(f.drive->status().staged_bytes > options.staging_max);  // not full, though protected
  f.engine.all()[2].absent = false;
  f.engine.changed();
  f.sync_full();
  for (const auto& node : f.engine.all()) CHECK(node.objects.size() == f.engine.all()[0].objects.size());
  REQUIRE(f.drive->drop_cache());
  for (std::uint64_t i = 0; i < 200; i += 37) CHECK(f.read(file.inode, i << 20, 1 << 20) == part);
}

TEST_CASE("without nodes writers get ENOSPC after a bound, and what was accepted stays") {
  DriveOptions options;
  options.staging_max = 70u << 20;
  options.write_timeout = std::chrono::seconds(3);
  DriveFixture f({3, 6}, options);
  for (auto& node : f.engine.all()) node.absent = true;
  const Attributes file = f.make_file(root_inode, "large");
  const Bytes part = f.random.bytes(1 << 20);
  std::uint64_t accepted = 0;
  Result<> result;
  const MonotonicTime began = f.runtime.clock().now();
  while ((result = f.drive->write(file.inode, accepted << 20, part, {}))) REQUIRE(++accepted < 100);
  CHECK(result.error().code == Code::no_space);
  CHECK(f.runtime.clock().now() - began >= options.write_timeout);
  CHECK(f.runtime.clock().now() - began < options.write_timeout * 3);
  REQUIRE(f.drive->commit());
  CHECK(f.read(file.inode, 0, 1 << 20) == part);
  CHECK(f.drive->attributes(file.inode)->size == accepted << 20);
}

TEST_CASE("an index with any page damaged is rebuilt, and the drive is as it was") {
  const std::uint64_t seed = GENERATE(range<std::uint64_t>(1, 9));
  CAPTURE(seed);
  DriveFixture f({2, 3}, {}, seed);
  std::map<std::string, Bytes> files;
  for (int i = 0; i < 40; ++i) {
    const std::string name = "file" + std::to_string(i);
    files[name] = f.random.bytes(2'000 + 37 * i);
    f.write(f.make_file(root_inode, name).inode, 0, files[name]);
  }
  f.close();
  const std::string path = f.directory() + "/index.db";
  const std::uint64_t size = f.disk->content(path).size();
  f.disk->damage(path, f.random.below(size / 512) * 512, f.random.bytes(512));
  // The damage is met at opening, or at the first read of what it hit: then the drive says so, and mends at the next mount.
  for (int attempt = 0;; ++attempt) {
    REQUIRE(attempt < 3);
    auto opened = f.try_open();
    if (!opened) continue;
    f.drive = std::move(*opened);
    bool whole = true;
    for (const auto& [name, content] : files) {
      auto found = f.drive->lookup(root_inode, name);
      Bytes out(content.size() + 1);
      const auto got = found ? f.drive->read(found->inode, 0, out, false, {}) : Result<std::size_t>(fail(found.error()));
      if (got) {
        out.resize(*got);
        REQUIRE(out == content);
      } else {
        CHECK(got.error().code != Code::not_found);
        whole = false;
      }
    }
    if (whole) break;
    (void)f.drive->close(std::chrono::seconds(10));
    f.drive.reset();
  }
}

TEST_CASE("an index whose header was damaged to look newer, or read-only, is rebuilt") {
  const std::uint64_t at = GENERATE(18, 19, 60, 62);  // SQLite's format numbers, and user_version
  DriveFixture f;
  const Bytes content = f.random.bytes(5000);
  f.write(f.make_file(root_inode, "file").inode, 0, content);
  f.close();
  f.disk->damage(f.directory() + "/index.db", at, Bytes(1, 0x42));
  f.open();
  CHECK(f.read(f.drive->lookup(root_inode, "file")->inode, 0, content.size()) == content);
}

TEST_CASE("a damaged staged frame costs its own file only") {
  DriveFixture f;
  for (auto& node : f.engine.all()) node.absent = true;
  const Attributes bad = f.make_file(root_inode, "bad");
  const Bytes content = f.random.bytes(50'000);
  f.write(bad.inode, 0, content);
  const Attributes good = f.make_file(root_inode, "good");
  f.write(good.inode, 0, content);
  REQUIRE(f.drive->commit());
  const auto staged = files_below(*f.disk, "/staging/");
  REQUIRE(staged.size() == 1);
  f.disk->damage(staged.front(), segment_header_bytes + 1000, Bytes(8, 0x55));
  Bytes out(content.size());
  const auto got = f.drive->read(bad.inode, 0, out, false, {});
  REQUIRE_FALSE(got);
  CHECK(got.error().code == Code::corrupt);
  CHECK(f.read(good.inode, 0, content.size()) == content);
}

TEST_CASE("a damaged cached copy is healed from nodes") {
  DriveFixture f;
  const Attributes file = f.make_file(root_inode, "file");
  const Bytes content = f.random.bytes(400'000);
  f.write(file.inode, 0, content);
  f.sync_full();
  const auto cached = files_below(*f.disk, "/cache/");
  for (const std::string& path : cached)
    if (path.ends_with(".seg")) f.disk->damage(path, segment_header_bytes + 5000, Bytes(8, 0x55));
  CHECK(f.read(file.inode, 0, content.size()) == content);
  CHECK(f.drive->status().counters.at("healed_extents") > 0);
}

TEST_CASE("a journal that was cut short or damaged in its middle refuses to open, and nothing is changed") {
  const bool cut = GENERATE(true, false);
  DriveFixture f;
  for (int i = 0; i < 20; ++i) {
    f.make_file(root_inode, "file" + std::to_string(i));
    REQUIRE(f.drive->commit());
  }
  f.close();
  f.remove_index();  // so that only the journal can tell
  const auto journals = files_below(*f.disk, "/journal/");
  REQUIRE(journals.size() == 1);
  if (cut) {
    f.disk->cut(journals.front(), 3000);
  } else {
    f.disk->damage(journals.front(), 1500, Bytes(16, 0xee));
  }
  const auto without_index = [&f] {
    auto files = f.disk->snapshot();
    std::erase_if(files, [](const auto& file) { return file.first.find("/index.db") != std::string::npos; });
    return files;
  };
  const auto before = without_index();
  const auto opened = f.try_open();
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Code::corrupt);
  CHECK(opened.error().what.find(journals.front()) != std::string::npos);
  CHECK(without_index() == before);
}

TEST_CASE("a drive opens only with its own key") {
  DriveFixture f;
  f.close();
  SeededRandom other_random(99);
  const auto opened = Drive::open(f.seams(), f.directory(), Keyring::generate(other_random), {});
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Code::key);
}
