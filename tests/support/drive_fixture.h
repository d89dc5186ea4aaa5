// A drive on a disk in memory, nodes in memory and virtual time; only the index (SQLite) lies in a temporary folder.
#pragma once

#include <catch2/catch.hpp>

#include <filesystem>
#include <memory>
#include <optional>

#include "cache/drive/drive.h"
#include "tests/support/fake_engine.h"
#include "tests/support/memory_disk.h"
#include "tests/support/seeded_random.h"
#include "tests/support/step_runtime.h"
#include "tests/support/temporary_folder.h"

namespace atl {

class DriveFixture {
 public:
  explicit DriveFixture(Redundancy redundancy = {3, 6}, DriveOptions options_ = {}, std::uint64_t seed = 1)
      : options(options_), random(seed), keyring(Keyring::generate(random)), disk(std::make_unique<MemoryDisk>()),
        engine(runtime, FakeEngine::make_nodes(redundancy.n)) {
    make_parents(*disk);
    NewDrive made;
    made.nodes = FakeEngine::specs(engine.all());
    made.redundancy = redundancy;
    made.protect_min = redundancy.n > redundancy.k ? static_cast<std::uint8_t>(redundancy.n - 1) : redundancy.n;
    REQUIRE(Drive::create(seams(), directory(), keyring, made));
    open();
  }
  ~DriveFixture() { drive.reset(); }

  DriveSeams seams() { return {*disk, runtime.clock(), random, runtime}; }
  std::string directory() const { return folder.path(); }

  void open(bool online = true) {
    auto opened = try_open();
    INFO((opened ? std::string() : opened.error().what));
    REQUIRE(opened);
    drive = std::move(*opened);
    if (online) drive->start(engine);
  }
  Result<std::unique_ptr<Drive>> try_open() {
    Bytes wrapped = keyring.wrap(wrapping, random);
    auto copy = Keyring::unwrap(wrapped, wrapping);
    REQUIRE(copy);
    return Drive::open(seams(), directory(), std::move(*copy), options);
  }
  void close() {
    auto closed = drive->close(std::chrono::seconds(10));
    INFO((closed ? std::string() : closed.error().what));
    REQUIRE(closed);
    drive.reset();
  }
  /// The power goes: the process is gone, the disk is what a crash leaves. The index may be lost as well.
  void crash(std::uint64_t seed, bool lose_index = false) {
    auto after = disk->crash(seed);
    disk->power_off_at(1);  // whatever the old drive still tries is lost
    drive.reset();
    disk = std::move(after);
    if (lose_index) remove_index();
  }
  void remove_index() {
    for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(directory() + "/index.db" + suffix);
  }

  Bytes read(InodeNumber inode, std::uint64_t offset, std::size_t count) {
    Bytes out(count);
    auto got = drive->read(inode, offset, out, true, {});
    INFO((got ? std::string() : got.error().what));
    REQUIRE(got);
    out.resize(*got);
    return out;
  }
  Attributes make_file(InodeNumber parent, std::string_view name) {
    auto made = drive->make_node(parent, name, 0100644, 0, caller);
    INFO(name << ": " << (made ? std::string() : made.error().what));
    REQUIRE(made);
    return *made;
  }
  void write(InodeNumber inode, std::uint64_t offset, ByteView bytes) {
    auto written = drive->write(inode, offset, bytes, {});
    INFO((written ? std::string() : written.error().what));
    REQUIRE(written);
  }
  void sync_full() {
    auto synced = drive->sync(SyncLevel::full, runtime.clock().now() + std::chrono::minutes(10), {}, {});
    INFO((synced ? std::string() : synced.error().what));
    REQUIRE(synced);
  }

  TemporaryFolder folder;
  DriveOptions options;
  SeededRandom random;
  StepRuntime runtime;
  SecretKey wrapping;
  Keyring keyring;
  std::unique_ptr<MemoryDisk> disk;
  FakeEngine engine;
  Caller caller;
  std::unique_ptr<Drive> drive;

 private:
  void make_parents(MemoryDisk& target) {
    std::string path;
    const std::string whole = directory();
    for (std::size_t at = 1; at != std::string::npos;) {
      at = whole.find('/', at);
      path = whole.substr(0, at);
      REQUIRE(target.make_directory(path));
      REQUIRE(target.sync_directory(std::filesystem::path(path).parent_path()));
      if (at != std::string::npos) ++at;
    }
  }
};

}  // namespace atl
