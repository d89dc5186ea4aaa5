// A drive on a disk in memory, nodes in memory and virtual time: nothing of it touches the machine.
#pragma once

#include <catch2/catch.hpp>

#include <memory>
#include <optional>

#include "cache/drive/drive.h"
#include "tests/support/fake_engine.h"
#include "tests/support/memory_disk.h"
#include "tests/support/seeded_random.h"
#include "tests/support/step_runtime.h"

namespace atl {

class DriveFixture {
 public:
  explicit DriveFixture(Redundancy redundancy = {3, 6}, DriveOptions options_ = {}, std::uint64_t seed = 1,
                        std::size_t spares = 0)
      : options(options_), random(seed), keyring(Keyring::generate(random)), disk(std::make_unique<MemoryDisk>()),
        engine(runtime, FakeEngine::make_nodes(redundancy.n + spares)) {
    make_directory(*disk);
    NewDrive made;
    made.nodes = FakeEngine::specs(engine.all());
    made.redundancy = redundancy;
    made.protect_min = redundancy.n > redundancy.k ? static_cast<std::uint8_t>(redundancy.n - 1) : redundancy.n;
    REQUIRE(Drive::create(seams(), directory(), keyring, made));
    open();
  }
  ~DriveFixture() { drive.reset(); }

  DriveSeams seams() {
    if (!disk) disk = std::make_unique<MemoryDisk>();  // a test has put it away
    return {*disk, runtime.clock(), random, runtime};
  }
  std::string directory() const { return "/state"; }

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
  /// The computer is gone: nothing is left but the nodes and the keys.
  void lose_computer() {
    disk->power_off_at(1);
    drive.reset();
    disk = std::make_unique<MemoryDisk>();
    make_directory(*disk);
  }
  void remove_index() {
    for (const char* suffix : {"", "-wal"}) {
      const auto removed = disk->remove(directory() + "/index.db" + suffix);
      REQUIRE((removed || removed.error().code == Code::not_found));
    }
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
  void make_directory(MemoryDisk& target) const {
    REQUIRE(target.make_directory(directory()));
    REQUIRE(target.sync_directory("/"));
  }
};

}  // namespace atl
