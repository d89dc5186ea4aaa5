// The segment store against power cuts and failing disks: synced staged bytes are there, wherever their file had got
// to.
#include <catch2/catch.hpp>

#include <map>
#include <optional>

#include "cache/staging/segment_store.h"
#include "tests/support/memory_disk.h"
#include "tests/support/seeded_random.h"

namespace atl {
namespace {

using Standing = SegmentStore::Standing;

const VolumeId volume = SeededRandom(1).id<VolumeId>();
constexpr std::uint64_t capacity = 16 * 1024;

/// What the index would know: which segments there are, how much of each was synced, where they stand.
struct Model {
  struct Segment {
    Bytes synced;  // behind the header
    Bytes written;
    bool finished = false;
    bool may_be_cached = false;  // mark_cached was called: the index said cached before
    bool surely_cached = false;  // evicted, perhaps: the index said cached durably
    bool removed = false;        // remove was called: the index had forgotten it before
  };
  std::map<std::uint64_t, Segment> segments;
  std::map<std::uint64_t, std::uint64_t> partial;  // id to size, content from its id
  std::uint64_t next = 1;
};

Bytes cached_content(std::uint64_t id, std::uint64_t size) {
  return SeededRandom(id * 77).bytes(size);
}

void step(SegmentStore& store, SeededRandom& random, Model& model) {
  const auto pick = [&]() -> Model::Segment* {
    if (model.segments.empty()) return nullptr;
    auto it = model.segments.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(random.below(model.segments.size())));
    model.next = std::max(model.next, it->first + 1);
    return it->second.removed ? nullptr : &it->second;
  };
  const auto id_of = [&](const Model::Segment* segment) {
    for (const auto& [id, other] : model.segments)
      if (&other == segment) return SegmentId(id);
    return SegmentId();
  };
  switch (random.below(9)) {
    case 0: {
      const std::uint64_t id = model.next++;
      if (store.create(SegmentId(id), capacity)) model.segments[id] = {};
      return;
    }
    case 1:
    case 2:
    case 3: {
      auto* segment = pick();
      if (segment == nullptr || segment->finished) return;
      const auto file = store.find(id_of(segment));
      const Bytes more = random.bytes(random.below(1500));
      if (file && file->write(segment_header_bytes + segment->written.size(), more))
        segment->written.insert(segment->written.end(), more.begin(), more.end());
      return;
    }
    case 4:
    case 5: {
      auto* segment = pick();
      if (segment == nullptr || segment->may_be_cached) return;
      const auto file = store.find(id_of(segment));
      if (file && file->sync()) segment->synced = segment->written;
      return;
    }
    case 6: {
      auto* segment = pick();
      if (segment == nullptr || segment->synced != segment->written) return;
      if (!store.finish(id_of(segment), segment_header_bytes + segment->written.size())) return;
      segment->finished = true;
      if (random.chance(0.6)) {
        segment->may_be_cached = true;
        (void)store.mark_cached(id_of(segment));
      }
      return;
    }
    case 7: {
      auto* segment = pick();
      if (segment == nullptr || random.chance(0.5)) return;
      segment->removed = true;
      (void)store.remove(id_of(segment));
      return;
    }
    default: {
      const std::uint64_t id = 1000 + random.below(3), size = 3 * cache_block_bytes;
      model.partial[id] = size;
      if (auto file = store.find_or_create_cached(SegmentId(id), size)) {
        const std::uint64_t at = random.below(3) * cache_block_bytes;
        (*file)->fill(at, ByteView(cached_content(id, size)).subspan(at, cache_block_bytes));
      }
      if (!random.chance(0.1)) return;
      for (auto& [any, segment] : model.segments) segment.surely_cached = segment.may_be_cached;
      store.shrink_cache(random.below(2) * size);
    }
  }
}

/// Opens what is left and checks it; the index may have said staged or cached of what was being handed over.
void check(MemoryDisk& disk, const Model& model, std::uint64_t seed) {
  SeededRandom random(seed);
  std::map<std::uint64_t, Standing> standings;
  for (const auto& [id, segment] : model.segments)
    standings[id] = segment.removed                                                          ? Standing::unknown
                    : segment.surely_cached || (segment.may_be_cached && random.chance(0.5)) ? Standing::cached
                                                                                             : Standing::staged;
  const auto standing = [&](SegmentId id) {
    if (model.partial.contains(id.value)) return Standing::cached;
    const auto it = standings.find(id.value);
    return it == standings.end() ? Standing::unknown : it->second;
  };
  for (int opening = 0; opening < 2; ++opening) {
    auto store = SegmentStore::open(disk, "/state", volume, standing);
    if (!store) FAIL(store.error().what);
    for (const auto& [id, segment] : model.segments) {
      INFO("segment " << id);
      const auto file = (*store)->find(SegmentId(id));
      if (segment.removed) {
        REQUIRE_FALSE(file);
        continue;
      }
      if (!file && standings[id] == Standing::cached) continue;  // evicted
      REQUIRE(file);
      Bytes out(segment.synced.size());
      REQUIRE(file->read(segment_header_bytes, out));
      REQUIRE(out == segment.synced);
    }
    for (const auto& [id, size] : model.partial) {
      const auto file = (*store)->find(SegmentId(id));
      if (!file) continue;
      const Bytes content = cached_content(id, size);
      for (std::uint64_t at = 0; at < size; at += cache_block_bytes) {
        if (!file->holds(at, cache_block_bytes)) continue;
        Bytes out(cache_block_bytes);
        REQUIRE(file->read(at, out));
        REQUIRE(std::equal(out.begin(), out.end(), content.begin() + static_cast<std::ptrdiff_t>(at)));
      }
    }
    (*store)->shrink_cache(0);
    REQUIRE((*store)->usage().cached_bytes == 0);
  }
}

std::unique_ptr<SegmentStore> fresh(MemoryDisk& disk) {
  REQUIRE(disk.make_directory("/state"));
  REQUIRE(disk.sync_directory("/"));
  return std::move(*SegmentStore::open(disk, "/state", volume, [](SegmentId) { return Standing::unknown; }));
}

TEST_CASE("after any power cut synced staged bytes are there and cached ones are right or gone") {
  for (std::uint64_t seed = 1; seed <= 120; ++seed) {
    INFO("seed " << seed);
    SeededRandom random(seed);
    MemoryDisk disk;
    auto store = fresh(disk);
    Model model;
    for (std::uint64_t fault = random.below(3); fault > 0; --fault)
      disk.fail_call(1 + random.below(60), {random.chance(0.5) ? Code::no_space : Code::io, random.chance(0.5)});
    disk.power_off_at(1 + random.below(120), random.chance(0.8));
    const std::uint64_t steps = random.below(90);
    for (std::uint64_t i = 0; i < steps; ++i) step(*store, random, model);
    if (random.chance(0.4)) (void)store->close();
    for (std::uint64_t state = 0; state < 12; ++state) {
      INFO("crash state " << state);
      const auto after = disk.crash(seed * 100 + state);
      check(*after, model, seed + state);
    }
  }
}

TEST_CASE("every call to the disk may fail once, and synced staged bytes are still there") {
  bool struck = true;
  for (std::uint64_t nth = 1; struck; ++nth) {
    INFO("call " << nth);
    MemoryDisk disk;
    auto store = fresh(disk);
    struck = false;
    std::uint64_t calls = 0;
    disk.set_fault_rule([&](const MemoryDisk::Call&) -> std::optional<MemoryDisk::Fault> {
      if (++calls != nth) return std::nullopt;
      struck = true;
      return MemoryDisk::Fault{Code::io, nth % 2 == 0};
    });
    Model model;
    SeededRandom random(3);
    for (int i = 0; i < 60; ++i) step(*store, random, model);
    if (!store->close()) (void)store->close();
    disk.clear_faults();
    const auto after = disk.crash(MemoryDisk::Unflushed::drop);
    check(*after, model, nth);
    REQUIRE(nth < 10'000);
  }
}

TEST_CASE("opening may be cut off at any point and loses nothing") {
  MemoryDisk disk;
  Model model;
  {
    auto store = fresh(disk);
    SeededRandom random(5);
    for (int i = 0; i < 150; ++i) step(*store, random, model);
    REQUIRE(store->close());
  }
  const auto standing = [&](SegmentId id) {
    const auto it = model.segments.find(id.value);
    if (it == model.segments.end()) return model.partial.contains(id.value) ? Standing::cached : Standing::unknown;
    if (it->second.removed) return Standing::unknown;
    return it->second.surely_cached ? Standing::cached : Standing::staged;  // the index lags where it may
  };
  bool completed = false;
  for (std::uint64_t at = 1; !completed; ++at) {
    INFO("cut at change " << at);
    const auto attempt = disk.clone();
    attempt->power_off_at(at);
    completed = SegmentStore::open(*attempt, "/state", volume, standing).has_value();
    for (std::uint64_t seed = 0; seed < 5; ++seed) check(*attempt->crash(seed), model, at * 10 + seed);
    REQUIRE(at < 1000);
  }
}

}  // namespace
}  // namespace atl
