// What the journal's tests share: a key, a folder on a disk in memory, and reading everything back. Not thread-safe.
#pragma once

#include <string>
#include <vector>

#include "cache/journal/journal.h"
#include "tests/support/memory_disk.h"
#include "tests/support/seeded_random.h"

namespace atl::journal_test {

inline const std::string folder = "/journal";

inline VolumeId volume() {
  return SeededRandom(1).id<VolumeId>();
}
inline SecretKey key() {
  return SecretKey::from(SeededRandom(2).bytes(32));
}

struct Batch {
  std::uint64_t first = 0;
  std::uint32_t count = 0;
  Bytes body;
  friend bool operator==(const Batch&, const Batch&) = default;
};

inline Result<> make(MemoryDisk& disk, JournalOptions options) {
  if (auto made = disk.make_directory(folder); !made) return made;
  if (auto synced = disk.sync_directory("/"); !synced) return synced;
  return Journal::create(disk, folder, volume(), key(), options);
}

inline Result<std::unique_ptr<Journal>> open(MemoryDisk& disk, JournalOptions options = {}, Lsn known = {}) {
  return Journal::open(disk, folder, volume(), key(), known, options);
}

inline Result<std::vector<Batch>> read_all(Journal& journal, Lsn from) {
  std::vector<Batch> batches;
  auto replayed = journal.replay(from, [&](const JournalBatch& batch) -> Result<> {
    batches.push_back({batch.first.value, batch.count, Bytes(batch.body.begin(), batch.body.end())});
    return {};
  });
  if (!replayed) return fail(replayed.error());
  return batches;
}
inline Result<std::vector<Batch>> read_all(Journal& journal) {
  return read_all(journal, journal.first());
}

}  // namespace atl::journal_test
