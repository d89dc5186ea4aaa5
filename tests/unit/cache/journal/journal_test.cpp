#include <rapidcheck.h>
#include <sodium.h>
#include <catch2/catch.hpp>

#include <algorithm>
#include <array>

#include "tests/unit/cache/journal/journal_fixture.h"

namespace atl {
namespace {

using namespace journal_test;

constexpr JournalOptions small{4096};

TEST_CASE("a new journal is empty and stays so") {
  MemoryDisk disk;
  REQUIRE(make(disk, small));
  for (int i = 0; i < 2; ++i) {
    auto journal = open(disk, small);
    REQUIRE(journal);
    CHECK((*journal)->first() == Lsn(1));
    CHECK((*journal)->last() == Lsn(0));
    CHECK(read_all(**journal)->empty());
  }
  auto again = Journal::create(disk, folder, volume(), key(), small);
  REQUIRE_FALSE(again);
  CHECK(again.error().code == Code::exists);
}

TEST_CASE("every appended batch is read back, from any record on, in order, after any number of openings") {
  CHECK(rc::check([] {
    const auto sizes = *rc::gen::container<std::vector<std::uint16_t>>(rc::gen::inRange<std::uint16_t>(0, 6000));
    MemoryDisk disk;
    RC_ASSERT(make(disk, small).has_value());
    auto journal = std::move(*open(disk, small));
    std::vector<Batch> written;
    ChainHash chain = journal->chain();
    std::uint64_t lsn = 1;
    for (const auto size : sizes) {
      const Batch batch{lsn, 1u + size % 3, SeededRandom(size).bytes(size)};
      const auto first = journal->append(batch.body, batch.count);
      RC_ASSERT(first.has_value());
      RC_ASSERT(first->value == lsn);
      RC_ASSERT(journal->chain() != chain);
      chain = journal->chain();
      lsn += batch.count;
      written.push_back(batch);
      if (size % 5 == 0) journal = std::move(*open(disk, small, Lsn(lsn - 1)));
    }
    journal = std::move(*open(disk, small, Lsn(lsn - 1)));
    RC_ASSERT(journal->last().value == lsn - 1);
    RC_ASSERT(journal->chain() == chain);
    const std::uint64_t from = *rc::gen::inRange<std::uint64_t>(1, lsn + 1);
    std::vector<Batch> expected;
    for (const auto& batch : written)
      if (batch.first + batch.count > from) expected.push_back(batch);
    RC_ASSERT(*read_all(*journal, Lsn(from)) == expected);
  }));
}

TEST_CASE("an acknowledged batch is durable without anything further, at the cost of one flush") {
  MemoryDisk disk;
  REQUIRE(make(disk, small));
  auto journal = std::move(*open(disk, small));
  const auto before = disk.changes();
  REQUIRE(journal->append(Bytes(100, 1), 1));
  CHECK(disk.changes() - before == 2);  // a write and a flush
  const auto after = disk.crash(MemoryDisk::Unflushed::drop);
  CHECK(open(*after, small, Lsn(1)));
}

TEST_CASE("a batch larger than a file gets a file of its own size") {
  MemoryDisk disk;
  REQUIRE(make(disk, small));
  auto journal = std::move(*open(disk, small));
  const Bytes big = SeededRandom(3).bytes(50'000);
  REQUIRE(journal->append(big, 1));
  REQUIRE(journal->append(Bytes(10, 2), 1));
  journal = std::move(*open(disk, small));
  auto batches = *read_all(*journal);
  REQUIRE(batches.size() == 2);
  CHECK(batches[0].body == big);
}

TEST_CASE("old files are dropped once nothing in them is wanted, and reading before them says so") {
  MemoryDisk disk;
  REQUIRE(make(disk, small));
  auto journal = std::move(*open(disk, small));
  for (int i = 0; i < 20; ++i) REQUIRE(journal->append(Bytes(1000, 1), 1));
  const auto bytes = journal->disk_bytes();
  REQUIRE(journal->drop_before(Lsn(11)));
  CHECK(journal->first() <= Lsn(11));
  CHECK(journal->first() > Lsn(1));
  CHECK(journal->disk_bytes() < bytes);
  CHECK(journal->last() == Lsn(20));
  auto refused = read_all(*journal, Lsn(1));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::not_found);
  REQUIRE(journal->drop_before(Lsn(1000)));
  CHECK(journal->last() == Lsn(20));
  const auto first = journal->first();
  journal = std::move(*open(disk, small, Lsn(20)));
  CHECK(journal->first() == first);
  CHECK(read_all(*journal)->back().first == 20);
}

TEST_CASE("reserved space takes a batch although the disk is full") {
  MemoryDisk disk(64 * 1024);
  REQUIRE(make(disk, small));
  auto journal = std::move(*open(disk, small));
  REQUIRE(journal->reserve(20'000));
  auto filler = std::move(*disk.open("/filler", OpenMode::create_new));
  REQUIRE(filler->allocate(disk.usage("/")->free_bytes));
  REQUIRE(journal->append(Bytes(20'000, 1), 1));
  auto refused = journal->append(Bytes(20'000, 1), 1);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::no_space);
  CHECK(journal->reserve(20'000).error().code == Code::no_space);
  REQUIRE(disk.remove("/filler"));
  filler.reset();
  REQUIRE(journal->append(Bytes(20'000, 2), 1));
  CHECK(read_all(**open(disk, small))->size() == 2);
}

TEST_CASE("after a failed write the journal goes on, and the failed batch never appears once another stands") {
  const MemoryDisk::Fault faults[] = {{Code::no_space}, {Code::no_space, true}, {Code::io, false, true}};
  for (const auto& fault : faults) {
    for (const std::size_t next : {20, 5000}) {  // in the same file and in a new one
      MemoryDisk disk;
      REQUIRE(make(disk, small));
      auto journal = std::move(*open(disk, small));
      REQUIRE(journal->append(Bytes(10, 1), 1));
      disk.fail_call(1, fault, MemoryDisk::op_write);
      CHECK_FALSE(journal->append(Bytes(1000, 2), 1));
      CHECK(journal->last() == Lsn(1));
      REQUIRE(journal->append(Bytes(next, 3), 1));
      for (std::uint64_t seed = 0; seed < 8; ++seed) {
        const auto after = disk.crash(seed);
        auto reopened = open(*after, small);
        if (!reopened) FAIL(reopened.error().what);
        const auto batches = *read_all(**reopened);
        REQUIRE(batches.size() == 2);
        CHECK(batches[1].body == Bytes(next, 3));
      }
    }
  }
}

TEST_CASE("recovery leaves nothing of a torn batch behind") {
  MemoryDisk disk;
  REQUIRE(make(disk, small));
  const std::string path = folder + "/00000000000000000001.log";
  const auto clean_end = [&](MemoryDisk& on) {
    return inspect_journal_file(on, path, volume(), key(), [](std::uint64_t, const JournalBatch&) {}).has_value();
  };
  auto journal = std::move(*open(disk, small));
  REQUIRE(journal->append(Bytes(10, 1), 1));
  disk.fail_call(1, {Code::io, true}, MemoryDisk::op_write);
  CHECK_FALSE(journal->append(Bytes(3000, 2), 1));
  CHECK_FALSE(clean_end(disk));
  REQUIRE(open(disk, small));
  CHECK(clean_end(disk));
  CHECK(clean_end(*disk.crash(MemoryDisk::Unflushed::drop)));
}

TEST_CASE("after a failed flush the journal takes nothing more and says why") {
  MemoryDisk disk;
  REQUIRE(make(disk, small));
  auto journal = std::move(*open(disk, small));
  disk.fail_call(1, {Code::io}, MemoryDisk::op_sync);
  for (int i = 0; i < 3; ++i) {
    auto refused = journal->append(Bytes(10, 1), 1);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Code::io);
  }
  CHECK_FALSE(journal->reserve(10));
  CHECK_FALSE(journal->drop_before(Lsn(1)));
}

TEST_CASE("what opening shows is durable, even if a killed process had only written it") {
  MemoryDisk disk;
  REQUIRE(make(disk, small));
  {
    auto journal = std::move(*open(disk, small));
    disk.fail_call(1, {Code::io}, MemoryDisk::op_sync);  // as if killed between write and flush
    CHECK_FALSE(journal->append(Bytes(10, 1), 1));
  }
  auto written = disk.clone();
  auto journal = std::move(*open(*written, small));
  REQUIRE(journal->last() == Lsn(1));
  CHECK(written->syncs(folder + "/00000000000000000001.log") == 1 + disk.syncs(folder + "/00000000000000000001.log"));
}

TEST_CASE("a journal of another drive or key is refused as such, not as damaged") {
  MemoryDisk disk;
  REQUIRE(make(disk, small));
  const auto before = disk.snapshot();
  auto other_key = Journal::open(disk, folder, volume(), SecretKey::from(Bytes(32, 9)), Lsn(0), small);
  REQUIRE_FALSE(other_key);
  CHECK(other_key.error().code == Code::key);
  auto other_volume = Journal::open(disk, folder, SeededRandom(9).id<VolumeId>(), key(), Lsn(0), small);
  REQUIRE_FALSE(other_volume);
  CHECK(other_volume.error().code == Code::key);
  CHECK(disk.snapshot() == before);
}

TEST_CASE("a journal file of a newer version is refused by name and left alone") {
  MemoryDisk disk;
  REQUIRE(make(disk, small));
  const std::string path = folder + "/00000000000000000001.log";
  auto header = disk.content(path);
  header.resize(128);
  header[8] = 2;  // the version; the plain hash at the end is made to fit, as every version keeps it
  std::array<std::uint8_t, 32> hash{};
  crypto_generichash(hash.data(), hash.size(), header.data(), 120, nullptr, 0);
  std::copy_n(hash.begin(), 8, header.begin() + 120);
  disk.damage(path, 0, header);
  const auto before = disk.snapshot();
  auto refused = open(disk, small);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::newer_format);
  CHECK(refused.error().what.find(path) != std::string::npos);
  CHECK(disk.snapshot() == before);
}

TEST_CASE("a journal that ends before what is known to have been durable is refused") {
  MemoryDisk disk;
  REQUIRE(make(disk, small));
  auto journal = std::move(*open(disk, small));
  REQUIRE(journal->append(Bytes(10, 1), 3));
  CHECK(open(disk, small, Lsn(3)));
  auto refused = open(disk, small, Lsn(4));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::corrupt);
}

TEST_CASE("an empty folder is not an empty journal") {
  MemoryDisk disk;
  REQUIRE(disk.make_directory(folder));
  auto refused = open(disk, small);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::corrupt);
}

TEST_CASE("a record that holds a copy of the journal itself confuses nobody") {
  MemoryDisk disk;
  REQUIRE(make(disk, {65536}));
  auto journal = std::move(*open(disk, {65536}));
  REQUIRE(journal->append(SeededRandom(4).bytes(500), 2));
  REQUIRE(journal->append(SeededRandom(5).bytes(500), 2));
  const std::string path = folder + "/00000000000000000001.log";
  const Bytes copy = disk.content(path);
  REQUIRE(journal->append(ByteView(copy).first(4096), 1));
  // Tear that batch: its copies of older batches are whole, and are no reason to refuse.
  const Bytes whole = disk.content(path);
  const auto at = std::search(whole.begin() + 1328, whole.end(), copy.begin(), copy.begin() + 128) - whole.begin();
  disk.damage(path, static_cast<std::uint64_t>(at) + 4000, Bytes(512, 0xFF));
  auto reopened = open(disk, {65536});
  REQUIRE(reopened);
  CHECK((*reopened)->last() == Lsn(4));
}

TEST_CASE("inspecting a journal file shows each batch, and where a damaged one ends") {
  MemoryDisk disk;
  REQUIRE(make(disk, small));
  auto journal = std::move(*open(disk, small));
  for (int i = 0; i < 3; ++i) REQUIRE(journal->append(Bytes(100, 1), 1));
  const std::string path = folder + "/00000000000000000001.log";
  std::vector<std::uint64_t> offsets;
  const auto note = [&](std::uint64_t offset, const JournalBatch&) { offsets.push_back(offset); };
  REQUIRE(inspect_journal_file(disk, path, volume(), key(), note));
  REQUIRE(offsets.size() == 3);
  CHECK(offsets[0] == 128);
  disk.damage(path, offsets[1] + 70, Bytes(1, 0xFF));
  offsets.clear();
  auto damaged = inspect_journal_file(disk, path, volume(), key(), note);
  REQUIRE_FALSE(damaged);
  CHECK(damaged.error().code == Code::corrupt);
  CHECK(offsets.size() == 1);
}

}  // namespace
}  // namespace atl
