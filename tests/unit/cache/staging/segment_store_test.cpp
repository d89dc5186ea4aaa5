#include <sodium.h>
#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <thread>

#include "cache/staging/segment_format.h"
#include "cache/staging/segment_store.h"
#include "tests/support/memory_disk.h"
#include "tests/support/seeded_random.h"

namespace atl {
namespace {

using Standing = SegmentStore::Standing;

const VolumeId volume = SeededRandom(1).id<VolumeId>();
constexpr std::uint64_t block = cache_block_bytes;

std::unique_ptr<SegmentStore> open_store(MemoryDisk& disk, const std::function<Standing(SegmentId)>& standing) {
  auto store = SegmentStore::open(disk, "/state", volume, standing);
  if (!store) FAIL(store.error().what);
  return std::move(*store);
}
std::unique_ptr<SegmentStore> open_store(MemoryDisk& disk, Standing standing = Standing::cached) {
  return open_store(disk, [=](SegmentId) { return standing; });
}

struct StateFolder : MemoryDisk {
  explicit StateFolder(std::uint64_t capacity = std::uint64_t{1} << 40) : MemoryDisk(capacity) {
    REQUIRE(make_directory("/state"));
    REQUIRE(sync_directory("/"));
  }
};

Bytes read_back(SegmentFile& file, std::uint64_t offset, std::size_t length) {
  Bytes out(length);
  auto read = file.read(offset, out);
  if (!read) FAIL(read.error().what);
  return out;
}

/// A finished, synced staged segment of random bytes.
Bytes stage(SegmentStore& store, std::uint64_t id, std::size_t bytes) {
  Bytes content = SeededRandom(id).bytes(bytes);
  auto file = store.create(SegmentId(id), 1 << 20);
  if (!file) FAIL(file.error().what);
  REQUIRE((*file)->write(segment_header_bytes, content));
  REQUIRE((*file)->sync());
  REQUIRE(store.finish(SegmentId(id), segment_header_bytes + bytes));
  return content;
}

TEST_CASE("what is written to a staged segment is read back, also after a power cut once it was synced") {
  StateFolder disk;
  Bytes content;
  {
    auto store = open_store(disk);
    auto file = *store->create(SegmentId(7), 1 << 20);
    CHECK(file->id() == SegmentId(7));
    CHECK(file->size() == segment_header_bytes);
    content = SeededRandom(2).bytes(5000);
    REQUIRE(file->write(segment_header_bytes, content));
    CHECK(file->size() == segment_header_bytes + 5000);
    CHECK(read_back(*file, segment_header_bytes, 5000) == content);
    CHECK_FALSE(file->holds(segment_header_bytes, 5001));
    Bytes beyond(10);
    CHECK_FALSE(file->read(segment_header_bytes + 4995, beyond));
    CHECK(store->usage().staged_bytes == segment_header_bytes + 5000);
    REQUIRE(file->sync());
    CHECK(store->create(SegmentId(7), 1 << 20).error().code == Code::exists);
  }
  const auto after = disk.crash(MemoryDisk::Unflushed::drop);
  auto store = open_store(*after, Standing::staged);
  auto file = store->find(SegmentId(7));
  REQUIRE(file);
  CHECK(read_back(*file, segment_header_bytes, 5000) == content);
  const auto header = decode_segment_header(read_back(*file, 0, segment_header_bytes), "");
  REQUIRE(header);
  CHECK(header->volume == volume);
  CHECK(header->id == SegmentId(7));
  // It may still be written to its reserved size until it is finished.
  REQUIRE(file->write(segment_header_bytes + 5000, Bytes(10, 1)));
  REQUIRE(store->finish(SegmentId(7), segment_header_bytes + 5010));
  CHECK(file->size() == segment_header_bytes + 5010);
  CHECK(file->write(segment_header_bytes + 5010, Bytes(1, 1)).error().code == Code::no_space);
  REQUIRE(file->write(segment_header_bytes, Bytes(10, 0)));  // blanking what is dead
  CHECK(store->usage().staged_bytes == segment_header_bytes + 5010);
  const auto map = file->map(segment_header_bytes + 5000, 10);
  REQUIRE(map);
  CHECK(Bytes(map->get(), map->get() + 10) == Bytes(10, 1));
  CHECK_FALSE(file->map(segment_header_bytes + 5000, 11));
}

TEST_CASE("a segment has its space from the start, and a full disk leaves nothing half made") {
  StateFolder disk(1 << 20);
  auto store = open_store(disk);
  REQUIRE(store->create(SegmentId(1), 600 * 1024));
  auto refused = store->create(SegmentId(2), 600 * 1024);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::no_space);
  CHECK(disk.list("/state/staging")->size() == 1);
  auto file = store->find(SegmentId(1));
  CHECK(file->write(600 * 1024 - 5, Bytes(6, 1)).error().code == Code::no_space);
  CHECK(file->write(600 * 1024 - 6, Bytes(6, 1)));
  // Finishing gives back what was reserved and not used.
  REQUIRE(store->create(SegmentId(3), 300 * 1024));
  REQUIRE(store->finish(SegmentId(3), 100));
  CHECK(disk.usage("/")->free_bytes > 400 * 1024);
}

TEST_CASE("a segment whose flush failed refuses writes and flushes, and still reads") {
  StateFolder disk;
  auto store = open_store(disk);
  auto file = *store->create(SegmentId(1), 1 << 20);
  REQUIRE(file->write(segment_header_bytes, Bytes(100, 1)));
  disk.fail_call(1, {Code::io}, MemoryDisk::op_sync);
  CHECK(file->sync().error().code == Code::io);
  CHECK(file->write(segment_header_bytes + 100, Bytes(100, 1)).error().code == Code::io);
  CHECK(file->sync().error().code == Code::io);
  CHECK(store->find(SegmentId(1))->sync().error().code == Code::io);
  CHECK(read_back(*file, segment_header_bytes, 100) == Bytes(100, 1));
}

TEST_CASE("cached segments are evicted least recently used first, staged ones never") {
  StateFolder disk;
  auto store = open_store(disk);
  for (std::uint64_t id = 1; id <= 4; ++id) stage(*store, id, 1000);
  for (std::uint64_t id = 1; id <= 3; ++id) REQUIRE(store->mark_cached(SegmentId(id)));
  const std::uint64_t each = segment_header_bytes + 1000;
  CHECK(store->usage().staged_bytes == each);
  CHECK(store->usage().cached_bytes == 3 * each);
  REQUIRE(store->find(SegmentId(1)));
  CHECK(store->shrink_cache(2 * each) == each);
  CHECK(store->find(SegmentId(1)));
  CHECK_FALSE(store->find(SegmentId(2)));
  CHECK(store->shrink_cache(0) == 2 * each);
  CHECK(store->usage().cached_bytes == 0);
  CHECK(store->find(SegmentId(4)));
  CHECK(store->usage().staged_bytes == each);
  CHECK(disk.list("/state/cache")->empty());
  CHECK(store->mark_cached(SegmentId(99)).error().code == Code::not_found);
  CHECK(store->remove(SegmentId(99)).error().code == Code::not_found);
}

TEST_CASE("a segment in use stays readable after it was removed or evicted") {
  StateFolder disk;
  auto store = open_store(disk);
  const Bytes first = stage(*store, 1, 1000), second = stage(*store, 2, 1000);
  auto removed = store->find(SegmentId(1)), evicted = store->find(SegmentId(2));
  REQUIRE(store->mark_cached(SegmentId(2)));
  REQUIRE(store->remove(SegmentId(1)));
  store->shrink_cache(0);
  CHECK_FALSE(store->find(SegmentId(1)));
  store.reset();
  CHECK(read_back(*removed, segment_header_bytes, 1000) == first);
  CHECK(read_back(*evicted, segment_header_bytes, 1000) == second);
}

TEST_CASE("a cached segment holds the blocks that were filled, and gives nothing else") {
  StateFolder disk;
  auto store = open_store(disk);
  const std::uint64_t size = 5 * block + 100;
  auto file = *store->find_or_create_cached(SegmentId(1), size);
  const Bytes content = SeededRandom(3).bytes(size);
  const auto part = [&](std::uint64_t from, std::uint64_t to) { return ByteView(content).subspan(from, to - from); };
  CHECK(file->size() == size);
  CHECK_FALSE(file->holds(0, 1));
  file->fill(block, part(block, 3 * block));
  CHECK(file->holds(block, 2 * block));
  CHECK_FALSE(file->holds(block - 1, 2));
  CHECK_FALSE(file->holds(3 * block - 1, 2));
  CHECK(read_back(*file, block + 5, block) == Bytes(content.begin() + block + 5, content.begin() + 2 * block + 5));
  Bytes out(10);
  CHECK(file->read(0, out).error().code == Code::io);
  CHECK_FALSE(file->map(0, size));
  CHECK(file->write(0, out).error().code == Code::invalid);
  CHECK(store->usage().cached_bytes == 2 * block);

  file->fill(3 * block, part(3 * block, 4 * block + 17));  // the rest of an unfinished block is not kept
  CHECK(file->holds(3 * block, block));
  CHECK_FALSE(file->holds(4 * block, 1));
  file->fill(17, part(17, block));  // not at a block
  CHECK_FALSE(file->holds(0, 100));
  file->fill(4 * block, part(4 * block, size));
  CHECK(file->holds(5 * block, 100));
  CHECK_FALSE(file->holds(5 * block, 101));
  file->fill(0, content);
  CHECK(store->usage().cached_bytes == size);
  const auto map = file->map(0, size);
  REQUIRE(map);
  CHECK(Bytes(map->get(), map->get() + size) == content);
  CHECK((*store->find_or_create_cached(SegmentId(1), size))->holds(0, size));
  CHECK(store->shrink_cache(0) == size);
}

TEST_CASE("caching fails silently: a full or broken disk costs speed, never a read") {
  StateFolder disk;
  auto store = open_store(disk);
  auto file = *store->find_or_create_cached(SegmentId(1), 4 * block);
  disk.fail_call(1, {Code::no_space, true}, MemoryDisk::op_write);
  file->fill(0, Bytes(2 * block, 1));
  CHECK_FALSE(file->holds(0, 1));
  CHECK(store->usage().cached_bytes == 0);
  file->fill(0, Bytes(2 * block, 1));
  CHECK(file->holds(0, 2 * block));
}

TEST_CASE("partial cached files are kept over a clean close, once, and thrown away after a crash") {
  StateFolder disk;
  const Bytes content = SeededRandom(4).bytes(4 * block);
  {
    auto store = open_store(disk);
    stage(*store, 1, 1000);
    REQUIRE(store->mark_cached(SegmentId(1)));
    (*store->find_or_create_cached(SegmentId(2), 4 * block))->fill(block, ByteView(content).subspan(block, block));
    const auto crashed = disk.crash(MemoryDisk::Unflushed::keep);
    auto poorer = open_store(*crashed);
    CHECK(poorer->find(SegmentId(1)));
    CHECK_FALSE(poorer->find(SegmentId(2)));
    REQUIRE(store->find(SegmentId(1)));
    REQUIRE(store->close());
    REQUIRE(store->close());
    CHECK_FALSE(store->create(SegmentId(9), 1000));
    CHECK_FALSE(store->find_or_create_cached(SegmentId(9), 1000));
  }
  const auto after = disk.crash(MemoryDisk::Unflushed::drop);
  {
    auto store = open_store(*after);
    auto file = store->find(SegmentId(2));
    REQUIRE(file);
    CHECK(file->holds(block, block));
    CHECK_FALSE(file->holds(0, 1));
    CHECK(read_back(*file, block, block) == Bytes(content.begin() + block, content.begin() + 2 * block));
    CHECK(store->usage().cached_bytes == block + segment_header_bytes + 1000);
  }
  {
    // The order of use is kept as well: 2 was used before 1.
    const auto copy = disk.crash(MemoryDisk::Unflushed::drop);
    auto store = open_store(*copy);
    store->shrink_cache(segment_header_bytes + 1000);
    CHECK(store->find(SegmentId(1)));
    CHECK_FALSE(store->find(SegmentId(2)));
  }
  // Not closed cleanly this time: what the note said is not believed again.
  const auto again = after->crash(MemoryDisk::Unflushed::drop);
  CHECK_FALSE(open_store(*again)->find(SegmentId(2)));
}

TEST_CASE("a damaged note about the cache costs the partial copies and nothing else") {
  StateFolder disk;
  {
    auto store = open_store(disk);
    stage(*store, 1, 1000);
    (*store->find_or_create_cached(SegmentId(2), 4 * block))->fill(0, Bytes(block, 1));
    REQUIRE(store->close());
  }
  const auto size = disk.content("/state/cache/index").size();
  for (std::uint64_t at = 0; at < size; ++at) {
    const auto damaged = disk.clone();
    const auto byte = damaged->content("/state/cache/index")[at];
    damaged->damage("/state/cache/index", at, Bytes(1, static_cast<std::uint8_t>(byte ^ 0x10)));
    auto store =
        open_store(*damaged, [](SegmentId id) { return id == SegmentId(1) ? Standing::staged : Standing::cached; });
    REQUIRE(store->find(SegmentId(1)));
    REQUIRE_FALSE(store->find(SegmentId(2)));
  }
}

TEST_CASE("at opening every file goes where the index says it stands") {
  StateFolder disk;
  std::map<std::uint64_t, Bytes> contents;
  {
    auto store = open_store(disk);
    for (std::uint64_t id = 1; id <= 4; ++id) contents[id] = stage(*store, id, 1000);
    for (std::uint64_t id = 3; id <= 4; ++id) REQUIRE(store->mark_cached(SegmentId(id)));
    (*store->find_or_create_cached(SegmentId(5), 4 * block))->fill(0, Bytes(block, 1));
    (*store->find_or_create_cached(SegmentId(6), 4 * block))->fill(0, Bytes(block, 1));
    REQUIRE(store->close());
  }
  auto store = open_store(disk, [](SegmentId id) {
    switch (id.value) {
      case 1:
        return Standing::staged;
      case 2:
        return Standing::cached;
      case 3:
        return Standing::staged;
      case 5:
        return Standing::cached;
      default:
        return Standing::unknown;
    }
  });
  CHECK(*disk.list("/state/staging") == std::vector<std::string>{"0000000000000001.seg", "0000000000000003.seg"});
  CHECK(*disk.list("/state/cache") == std::vector<std::string>{"0000000000000002.seg", "0000000000000005.part"});
  for (std::uint64_t id = 1; id <= 3; ++id)
    CHECK(read_back(*store->find(SegmentId(id)), segment_header_bytes, 1000) == contents[id]);
  CHECK_FALSE(store->find(SegmentId(4)));
  store->shrink_cache(0);
  CHECK(store->find(SegmentId(3)));
}

TEST_CASE("staged segments of another drive or a newer version are refused by name, and left alone") {
  StateFolder disk;
  { stage(*open_store(disk), 1, 1000); }
  const std::string path = "/state/staging/0000000000000001.seg";
  const auto refused = [&](MemoryDisk& changed, const VolumeId& as, Code code) {
    const auto before = changed.snapshot();
    auto store = SegmentStore::open(changed, "/state", as, [](SegmentId) { return Standing::staged; });
    REQUIRE_FALSE(store);
    CHECK(store.error().code == code);
    CHECK(store.error().what.find(path) != std::string::npos);
    CHECK(changed.snapshot() == before);
  };
  refused(disk, SeededRandom(99).id<VolumeId>(), Code::key);
  auto header = disk.content(path);
  header.resize(segment_header_bytes);
  header[8] = 2;  // the version; the hash behind it is made to fit
  std::array<std::uint8_t, 32> hash{};
  crypto_generichash(hash.data(), hash.size(), header.data(), 56, nullptr, 0);
  std::copy_n(hash.begin(), 8, header.begin() + 56);
  disk.damage(path, 0, header);
  refused(disk, volume, Code::newer_format);
}

TEST_CASE("thousands of segments need only a bounded number of open files, and each still reads") {
  StateFolder disk;
  auto store = open_store(disk);
  std::map<std::uint64_t, Bytes> contents;
  for (std::uint64_t id = 1; id <= 1000; ++id) contents[id] = stage(*store, id, 10);
  for (int round = 0; round < 2; ++round)
    for (std::uint64_t id = 1; id <= 1000; ++id)
      REQUIRE(read_back(*store->find(SegmentId(id)), segment_header_bytes, 10) == contents[id]);
}

TEST_CASE("readers, fillers and evictors at once never see bytes that were not filled") {
  StateFolder disk;
  auto store = open_store(disk);
  constexpr std::uint64_t segments = 4, size = 6 * block;
  std::map<std::uint64_t, Bytes> contents;
  for (std::uint64_t id = 1; id <= segments; ++id) contents[id] = SeededRandom(id).bytes(size);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    threads.emplace_back([&, seed] {
      SeededRandom random(seed);
      for (int i = 0; i < 400; ++i) {
        const std::uint64_t id = 1 + random.below(segments);
        auto file = store->find_or_create_cached(SegmentId(id), size);
        if (!file) continue;
        const std::uint64_t at = random.below(6) * block;
        switch (random.below(8)) {
          case 0:
            store->shrink_cache(random.below(3) * size);
            break;
          case 1:
            (void)store->remove(SegmentId(id));
            break;
          case 2:
          case 3:
            (*file)->fill(at, ByteView(contents[id]).subspan(at, block));
            break;
          default: {
            Bytes out(block);
            if (!(*file)->holds(at, block) || !(*file)->read(at, out)) break;
            if (!std::equal(out.begin(), out.end(), contents[id].begin() + static_cast<std::ptrdiff_t>(at))) ++wrong;
          }
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
  store->shrink_cache(0);
  CHECK(store->usage().cached_bytes == 0);
}

}  // namespace
}  // namespace atl
