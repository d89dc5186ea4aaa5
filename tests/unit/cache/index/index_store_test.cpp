// The index on a disk that loses power, fills up and fails: it is the journal folded to one LSN, or it says that it is not.
#include <catch2/catch.hpp>

#include "cache/index/index_store.h"
#include "tests/support/memory_disk.h"
#include "tests/support/seeded_random.h"

using namespace atl;

namespace {

const std::string path = "/state/index.db";

MemoryDisk& with_folder(MemoryDisk& disk) {
  REQUIRE(disk.make_directory("/state"));
  REQUIRE(disk.sync_directory("/"));
  return disk;
}

/// The commit that makes `lsn` of `lsn - 1`: inode `lsn` appears, and row 1 says which commit was last.
std::vector<IndexChanges> commit(std::uint64_t lsn) {
  IndexChanges changes;
  changes.upto = Lsn(lsn);
  InodeRow row;
  row.links = 1;
  row.size = lsn;
  changes.inodes.emplace_back(InodeNumber(1), std::make_shared<const InodeRow>(row));
  if (lsn > 1) changes.inodes.emplace_back(InodeNumber(lsn), std::make_shared<const InodeRow>(row));
  std::vector<IndexChanges> commits;
  commits.push_back(std::move(changes));
  return commits;
}

/// Whether the index holds exactly the commits up to the LSN that it names.
void check_prefix(IndexStore& index, std::uint64_t least, std::uint64_t most) {
  const std::uint64_t lsn = index.applied().value;
  REQUIRE(lsn >= least);
  REQUIRE(lsn <= most);
  if (lsn > 0) REQUIRE(index.inode(InodeNumber(1))->size == lsn);
  for (std::uint64_t i = 2; i <= most; ++i) REQUIRE((index.inode(InodeNumber(i)) != nullptr) == (i <= lsn));
}

}  // namespace

TEST_CASE("after any power cut the index is the journal folded to one LSN, and no older than its last flush") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    INFO("seed " << seed);
    SeededRandom random(seed);
    MemoryDisk disk;
    auto index = std::move(*IndexStore::create(with_folder(disk), path));
    std::uint64_t applied = 0, flushed = 0;
    REQUIRE(index->flush());
    disk.power_off_at(1 + random.below(120), random.chance(0.8));
    for (int i = 0; i < 40; ++i) {
      if (index->apply(commit(applied + 1))) {
        ++applied;
      } else {
        break;
      }
      if (random.chance(0.15)) {
        const auto lsn = index->flush();
        if (!lsn) break;
        flushed = lsn->value;
      }
    }
    for (std::uint64_t state = 0; state < 12; ++state) {
      INFO("crash state " << state);
      const auto after = disk.crash(seed * 100 + state);
      auto reopened = IndexStore::open(*after, path);
      if (!reopened) FAIL(reopened.error().what);
      REQUIRE((*reopened)->check());
      check_prefix(**reopened, flushed, applied + 1);
    }
  }
}

TEST_CASE("a new index never takes an old one's log for its own, whenever the power goes") {
  for (std::uint64_t at = 1; at <= 40; ++at) {
    MemoryDisk disk;
    {
      auto old = std::move(*IndexStore::create(with_folder(disk), path));
      for (std::uint64_t lsn = 1; lsn <= 5; ++lsn) REQUIRE(old->apply(commit(lsn)));
      REQUIRE(old->flush());
      REQUIRE(old->apply(commit(6)));
    }
    disk.power_off_at(at);
    (void)IndexStore::create(disk, path);
    for (std::uint64_t state = 0; state < 20; ++state) {
      INFO("power off at " << at << ", crash state " << state);
      const auto after = disk.crash(state);
      auto reopened = IndexStore::open(*after, path);
      if (!reopened) {
        REQUIRE((reopened.error().code == Code::not_found || reopened.error().code == Code::corrupt));
        continue;
      }
      REQUIRE((*reopened)->check());
      check_prefix(**reopened, 0, 6);
    }
  }
}

TEST_CASE("after a failed flush of the index nothing is flushed again as if it could succeed") {
  bool struck = true;
  std::size_t failed = 0;
  for (std::uint64_t nth = 1; struck; ++nth) {
    INFO("flush " << nth);
    MemoryDisk disk;
    auto index = std::move(*IndexStore::create(with_folder(disk), path));
    disk.fail_call(nth, {Code::io}, MemoryDisk::op_sync);
    struck = false;
    for (std::uint64_t lsn = 1; lsn <= 3 && !struck; ++lsn) struck = !index->apply(commit(lsn));
    struck = struck || !index->flush();
    if (!struck) continue;
    ++failed;
    CHECK_FALSE((index->apply(commit(4)) && index->flush()));
    CHECK_FALSE((index->apply(commit(4)) && index->flush()));
    index.reset();
    const auto after = disk.crash(nth);
    auto reopened = IndexStore::open(*after, path);
    if (!reopened) FAIL(reopened.error().what);
    check_prefix(**reopened, 0, 4);
  }
  CHECK(failed >= 2);  // the log's, and the database's
}

TEST_CASE("looking at an index that a crash left changes no byte of it") {
  MemoryDisk disk;
  auto index = std::move(*IndexStore::create(with_folder(disk), path));
  for (std::uint64_t lsn = 1; lsn <= 4; ++lsn) REQUIRE(index->apply(commit(lsn)));
  const auto after = disk.crash(MemoryDisk::Unflushed::keep);
  const auto before = after->snapshot();
  const auto changes = after->changes();
  {
    auto seen = IndexStore::open_read_only(*after, path);
    if (!seen) FAIL(seen.error().what);
    check_prefix(**seen, 4, 4);
    CHECK_FALSE((*seen)->apply(commit(5)));
  }
  CHECK(after->snapshot() == before);
  CHECK(after->changes() == changes);
  index.reset();
  const auto closed = disk.snapshot();
  {
    auto seen = IndexStore::open_read_only(disk, path);
    REQUIRE(seen);
    check_prefix(**seen, 4, 4);
  }
  CHECK(disk.snapshot() == closed);
}

TEST_CASE("an index that is read for a checkpoint goes on taking commits, and the reader sees one moment") {
  MemoryDisk disk;
  auto index = std::move(*IndexStore::create(with_folder(disk), path));
  for (std::uint64_t lsn = 1; lsn <= 3; ++lsn) REQUIRE(index->apply(commit(lsn)));
  auto reader = std::move(*index->beside());
  std::uint64_t next = 4;
  std::size_t rows = 0;
  const auto lsn = reader->dump([&](std::string_view, ByteView, ByteView) -> Result<> {
    ++rows;
    return index->apply(commit(next++));
  });
  REQUIRE(lsn);
  CHECK(lsn->value == 3);
  CHECK(rows == 4);
  check_prefix(*index, next - 1, next - 1);
}
