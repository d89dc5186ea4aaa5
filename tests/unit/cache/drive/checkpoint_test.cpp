// Checkpoint files against power cuts and damage: the journal before them may be gone, so that one must always be whole.
#include "cache/drive/checkpoint.h"

#include <catch2/catch.hpp>

#include "tests/support/memory_disk.h"
#include "tests/support/seeded_random.h"

using namespace atl;

namespace {

const std::string folder = "/state/checkpoints";

VolumeId volume() { return SeededRandom(1).id<VolumeId>(); }
SecretKey key() { return SecretKey::from(SeededRandom(2).bytes(32)); }

void make_folder(MemoryDisk& disk) {
  REQUIRE(disk.make_directory("/state"));
  REQUIRE(disk.sync_directory("/"));
  REQUIRE(disk.make_directory(folder));
  REQUIRE(disk.sync_directory("/state"));
}

/// Commits up to `last`: inode 1 knows how many there were.
void apply(IndexStore& index, std::uint64_t first, std::uint64_t last) {
  for (std::uint64_t lsn = first; lsn <= last; ++lsn) {
    InodeRow row;
    row.links = 1;
    row.size = lsn;
    std::vector<IndexChanges> commits(1);
    commits.front().upto = Lsn(lsn);
    commits.front().inodes.emplace_back(InodeNumber(1), std::make_shared<const InodeRow>(row));
    REQUIRE(index.apply(commits));
  }
}

/// The LSN that a new index made from the checkpoints stands for; its row must be of that moment.
Result<Lsn> loaded(MemoryDisk& disk) {
  auto index = std::move(*IndexStore::create(disk, "/state/other.db"));
  auto lsn = load_checkpoint(disk, folder, *index, volume(), key());
  if (lsn && lsn->value != 0) CHECK(index->inode(InodeNumber(1))->size == lsn->value);
  return lsn;
}

}  // namespace

TEST_CASE("a power cut while a checkpoint is made leaves the one before or the new one") {
  bool cut = true;
  for (std::uint64_t at = 1; cut; ++at) {
    REQUIRE(at < 100);
    MemoryDisk disk;
    make_folder(disk);
    auto index = std::move(*IndexStore::create(disk, "/state/index.db"));
    apply(*index, 1, 3);
    REQUIRE(write_checkpoint(disk, folder, *index, volume(), key()));
    apply(*index, 4, 5);
    disk.power_off_at(at);
    cut = !write_checkpoint(disk, folder, *index, volume(), key());
    for (std::uint64_t seed = 0; seed < 16; ++seed) {
      CAPTURE(at, seed);
      const auto left = disk.crash(seed);
      const auto lsn = loaded(*left);
      INFO((lsn ? std::string() : lsn.error().what));
      REQUIRE(lsn);
      CHECK((lsn->value == 5 || (cut && lsn->value == 3)));
    }
  }
}

TEST_CASE("a checkpoint with any byte changed or cut off is not loaded") {
  MemoryDisk disk;
  make_folder(disk);
  auto index = std::move(*IndexStore::create(disk, "/state/index.db"));
  apply(*index, 1, 3);
  REQUIRE(write_checkpoint(disk, folder, *index, volume(), key()));
  const std::string path = folder + "/00000000000000000003.ckpt";
  const Bytes whole = disk.content(path);
  REQUIRE(loaded(*disk.clone()) == Lsn(3));
  for (std::size_t at = 0; at < whole.size(); ++at) {
    CAPTURE(at);
    const auto changed = disk.clone();
    changed->damage(path, at, Bytes{static_cast<std::uint8_t>(whole[at] ^ 0x11)});
    CHECK_FALSE(loaded(*changed));
    const auto shorter = disk.clone();
    shorter->cut(path, at);
    CHECK_FALSE(loaded(*shorter));
  }
}
