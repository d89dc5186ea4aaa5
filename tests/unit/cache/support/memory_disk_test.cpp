// The crash model that other tests lean on: it must take what a power cut may take, and nothing that was flushed.
#include <catch2/catch.hpp>

#include <set>

#include "tests/support/memory_disk.h"
#include "tests/support/step_runtime.h"

namespace atl {
namespace {

using Unflushed = MemoryDisk::Unflushed;

Bytes pattern(std::size_t count, std::uint8_t value) {
  return Bytes(count, value);
}

TEST_CASE("flushed bytes under a flushed name survive every power cut") {
  MemoryDisk disk;
  REQUIRE(disk.make_directory("/d"));
  REQUIRE(disk.sync_directory("/"));
  auto file = disk.open("/d/f", OpenMode::create_new);
  REQUIRE((*file)->write(0, pattern(5000, 7)));
  REQUIRE((*file)->sync());
  REQUIRE(disk.sync_directory("/d"));
  REQUIRE((*file)->write(5000, pattern(3000, 9)));
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const auto after = disk.crash(seed);
    const Bytes content = after->content("/d/f");
    REQUIRE(content.size() >= 5000);
    REQUIRE(Bytes(content.begin(), content.begin() + 5000) == pattern(5000, 7));
  }
}

TEST_CASE("unflushed bytes may be lost, kept or torn at 512 bytes") {
  MemoryDisk disk;
  auto file = disk.open("/f", OpenMode::create_new);
  REQUIRE((*file)->allocate(4096));
  REQUIRE((*file)->sync());
  REQUIRE(disk.sync_directory("/"));
  REQUIRE((*file)->write(0, pattern(2048, 1)));
  std::set<Bytes> states;
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    Bytes content = disk.crash(seed)->content("/f");
    for (std::size_t sector = 0; sector < 4; ++sector)
      for (std::size_t i = 1; i < 512; ++i) REQUIRE(content[sector * 512 + i] == content[sector * 512]);
    states.insert(std::move(content));
  }
  CHECK(states.size() == 16);
}

TEST_CASE("a name is lost or kept until its directory is flushed") {
  MemoryDisk disk;
  REQUIRE(disk.open("/f", OpenMode::create_new));
  CHECK_FALSE(*disk.crash(Unflushed::drop)->exists("/f"));
  CHECK(*disk.crash(Unflushed::keep)->exists("/f"));
  REQUIRE(disk.sync_directory("/"));
  CHECK(*disk.crash(Unflushed::drop)->exists("/f"));
  REQUIRE(disk.remove("/f"));
  CHECK(*disk.crash(Unflushed::drop)->exists("/f"));
  CHECK_FALSE(*disk.crash(Unflushed::keep)->exists("/f"));
}

TEST_CASE("a rename leaves the old name or the new one, never neither and never both") {
  MemoryDisk disk;
  for (const char* directory : {"/a", "/b"}) REQUIRE(disk.make_directory(directory));
  REQUIRE(disk.open("/a/f", OpenMode::create_new));
  for (const char* directory : {"/", "/a", "/b"}) REQUIRE(disk.sync_directory(directory));
  REQUIRE(disk.rename("/a/f", "/b/f"));
  bool old_seen = false, new_seen = false;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const auto after = disk.crash(seed);
    const bool has_old = *after->exists("/a/f"), has_new = *after->exists("/b/f");
    REQUIRE(has_old != has_new);
    old_seen |= has_old;
    new_seen |= has_new;
  }
  CHECK((old_seen && new_seen));
  REQUIRE(disk.sync_directory("/a"));
  REQUIRE(disk.sync_directory("/b"));
  CHECK(*disk.crash(Unflushed::drop)->exists("/b/f"));
}

TEST_CASE("bytes before a failed flush stay in doubt after a later flush that succeeds") {
  MemoryDisk disk;
  auto file = disk.open("/f", OpenMode::create_new);
  REQUIRE((*file)->allocate(1024));
  REQUIRE((*file)->sync());
  REQUIRE(disk.sync_directory("/"));
  REQUIRE((*file)->write(0, pattern(512, 1)));
  disk.fail_call(1, {Code::io}, MemoryDisk::op_sync);
  REQUIRE_FALSE((*file)->sync());
  REQUIRE((*file)->write(512, pattern(512, 2)));
  REQUIRE((*file)->sync());
  const Bytes dropped = disk.crash(Unflushed::drop)->content("/f");
  CHECK(dropped[0] == 0);
  CHECK(dropped[512] == 2);
}

TEST_CASE("faults strike the call they were asked for, once, and a full disk says so") {
  MemoryDisk disk(16384);
  auto file = disk.open("/f", OpenMode::create_new);
  disk.fail_call(2, {Code::io, true}, MemoryDisk::op_write);
  CHECK((*file)->write(0, pattern(100, 1)));
  auto failed = (*file)->write(0, pattern(100, 2));
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == Code::io);
  CHECK(disk.content("/f")[49] == 2);
  CHECK(disk.content("/f")[50] == 1);
  CHECK((*file)->write(0, pattern(100, 3)));
  auto full = (*file)->allocate(20000);
  REQUIRE_FALSE(full);
  CHECK(full.error().code == Code::no_space);
  CHECK(disk.usage("/")->free_bytes == 16384 - 4096);
}

TEST_CASE("after the power went nothing works, and a crash shows what was left") {
  MemoryDisk disk;
  auto file = disk.open("/f", OpenMode::create_new);
  disk.power_off_at(1);
  CHECK_FALSE((*file)->write(0, pattern(100, 1)));
  CHECK_FALSE((*file)->sync());
  Bytes buffer(10);
  CHECK_FALSE((*file)->read(0, buffer));
  CHECK(disk.crash(Unflushed::keep)->content("/f") == pattern(100, 1));
}

TEST_CASE("virtual time fires timers in order and wakes waiters at their moment") {
  StepRuntime runtime;
  std::vector<int> order;
  runtime.after(std::chrono::seconds(2), [&] { order.push_back(2); });
  runtime.after(std::chrono::seconds(1), [&] {
    order.push_back(1);
    runtime.post([&] { order.push_back(10); });
  });
  const auto dropped = runtime.after(std::chrono::seconds(1), [&] { order.push_back(99); });
  CHECK(runtime.cancel(dropped));
  CHECK_FALSE(runtime.cancel(dropped));
  runtime.advance(std::chrono::seconds(3));
  CHECK(order == std::vector<int>{1, 10, 2});

  auto event = runtime.make_event();
  const auto start = runtime.clock().now();
  runtime.after(std::chrono::seconds(5), [&] { event->set(); });
  CHECK_FALSE(event->wait_until(start + std::chrono::seconds(1)));
  CHECK(runtime.clock().now() == start + std::chrono::seconds(1));
  CHECK(event->wait_until(std::nullopt));
  CHECK(runtime.clock().now() == start + std::chrono::seconds(5));
  event->reset();
  CHECK_THROWS(event->wait_until(std::nullopt));
}

}  // namespace
}  // namespace atl
