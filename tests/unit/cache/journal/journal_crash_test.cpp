// The journal against power cuts, failing disks and damage: what was acknowledged is there, and nothing else is.
#include <catch2/catch.hpp>

#include <algorithm>
#include <optional>

#include "tests/unit/cache/journal/journal_fixture.h"

namespace atl {
namespace {

using namespace journal_test;

/// What a run has learned: batches acknowledged, and the attempts since then that were not.
struct History {
  std::vector<Batch> acknowledged;
  std::vector<Batch> in_doubt;
  std::uint64_t dropped_before = 0;

  std::uint64_t next() const {
    return acknowledged.empty() ? 1 : acknowledged.back().first + acknowledged.back().count;
  }
};

/// One random change of a journal, whatever comes of it.
void step(Journal& journal, SeededRandom& random, History& history) {
  const auto pick = random.below(20);
  if (pick == 0) {
    (void)journal.reserve(random.below(8000));
  } else if (pick == 1 && !history.acknowledged.empty()) {
    history.dropped_before = std::max(history.dropped_before, random.below(history.next()) + 1);
    (void)journal.drop_before(Lsn(history.dropped_before));
  } else {
    Batch batch{history.next(), 1 + static_cast<std::uint32_t>(random.below(4)),
                random.bytes(random.below(4) == 0 ? random.below(5000) : random.below(300))};
    const auto first = journal.append(batch.body, batch.count);
    if (first) {
      REQUIRE(first->value == batch.first);
      history.acknowledged.push_back(std::move(batch));
      history.in_doubt.clear();
    } else {
      history.in_doubt.push_back(std::move(batch));
    }
  }
}

/// The journal holds every acknowledged batch that was not dropped, then at most one that is in doubt, which is part of
/// the history from then on.
void check_prefix(Journal& journal, History& history) {
  auto found = read_all(journal);
  if (!found) found = read_all(journal);  // a fault that strikes once may have struck here
  REQUIRE(found);
  std::vector<Batch> expected;
  for (const auto& batch : history.acknowledged)
    if (batch.first >= journal.first().value) expected.push_back(batch);
  REQUIRE((history.dropped_before == 0 ? journal.first().value == 1
                                       : journal.first().value <= std::max<std::uint64_t>(history.dropped_before, 1)));
  if (found->size() > expected.size()) {
    REQUIRE(std::ranges::find(history.in_doubt, found->back()) != history.in_doubt.end());
    expected.push_back(found->back());
    history.acknowledged.push_back(found->back());
  }
  REQUIRE(*found == expected);
  history.in_doubt.clear();
}

TEST_CASE("after any power cut the journal is a prefix of its history with everything acknowledged in it") {
  constexpr JournalOptions options{4096};
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    INFO("seed " << seed);
    SeededRandom random(seed);
    MemoryDisk disk;
    REQUIRE(make(disk, options));
    History history;
    auto journal = std::move(*open(disk, options));
    // Some faults that a running journal meets before the power goes, mostly of writes.
    for (std::uint64_t fault = random.below(4); fault > 0; --fault)
      disk.fail_call(1 + random.below(40), {random.chance(0.5) ? Code::no_space : Code::io, random.chance(0.7)},
                     random.chance(0.8) ? MemoryDisk::op_write : MemoryDisk::op_all);
    disk.power_off_at(2 + random.below(100), random.chance(0.8));
    for (int i = 0; i < 60; ++i) step(*journal, random, history);

    for (std::uint64_t state = 0; state < 40; ++state) {
      INFO("crash state " << state);
      const auto after = disk.crash(seed * 1000 + state);
      auto reopened = open(*after, options);
      if (!reopened) FAIL(reopened.error().what);
      History seen = history;
      check_prefix(**reopened, seen);

      // Recovery is durable at once and gives the same again.
      const auto found = *read_all(**reopened);
      const auto cut_again = after->crash(MemoryDisk::Unflushed::drop);
      auto twice = open(*cut_again, options, (*reopened)->last());
      if (!twice) FAIL(twice.error().what);
      REQUIRE(*read_all(**twice) == found);

      // And the journal goes on from there; what it takes now survives as well.
      REQUIRE((*twice)->append(Bytes(random.below(600), 0x5A), 1));
      const auto third = cut_again->crash(state);
      auto last = open(*third, options, (*twice)->last());
      if (!last) FAIL(last.error().what);
      REQUIRE(read_all(**last)->size() == found.size() + 1);
    }
  }
}

TEST_CASE("a power cut during recovery loses nothing that a first recovery would have kept") {
  constexpr JournalOptions options{8192};
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    INFO("seed " << seed);
    SeededRandom random(seed);
    MemoryDisk disk;
    REQUIRE(make(disk, options));
    History history;
    auto journal = std::move(*open(disk, options));
    disk.power_off_at(2 + random.below(60));
    for (int i = 0; i < 40; ++i) step(*journal, random, history);
    const auto torn = disk.crash(MemoryDisk::Unflushed::draw, seed);
    for (std::uint64_t at = 1; at <= 4; ++at) {
      const auto attempt = torn->clone();
      attempt->power_off_at(at);
      (void)open(*attempt, options);
      const auto after = attempt->crash(seed * 10 + at);
      auto reopened = open(*after, options);
      if (!reopened) FAIL(reopened.error().what);
      History seen = history;
      check_prefix(**reopened, seen);
    }
  }
}

TEST_CASE("every call to the disk may fail once, and what was acknowledged is still there") {
  constexpr JournalOptions options{4096};
  for (const bool partly : {false, true}) {
    bool struck = true;
    for (std::uint64_t nth = 1; struck; ++nth) {
      INFO("call " << nth << (partly ? ", in part" : ""));
      MemoryDisk disk;
      REQUIRE(make(disk, options));
      struck = false;
      std::uint64_t calls = 0;
      disk.set_fault_rule([&](const MemoryDisk::Call&) -> std::optional<MemoryDisk::Fault> {
        if (++calls != nth) return std::nullopt;
        struck = true;
        return MemoryDisk::Fault{Code::io, partly};
      });
      History history;
      SeededRandom random(7);
      for (int session = 0; session < 3; ++session) {
        auto journal = open(disk, options);
        if (!journal) journal = open(disk, options);
        REQUIRE(journal);
        check_prefix(**journal, history);
        for (int i = 0; i < 8; ++i) step(**journal, random, history);
      }
      disk.clear_faults();
      const auto after = disk.crash(MemoryDisk::Unflushed::drop);
      auto reopened = open(*after, options);
      if (!reopened) FAIL(reopened.error().what);
      check_prefix(**reopened, history);
      REQUIRE(nth < 10'000);
    }
  }
}

struct SmallJournal {
  MemoryDisk disk;
  std::vector<Batch> batches;
  std::uint64_t last = 0;

  SmallJournal() {
    const JournalOptions options{1024};
    REQUIRE(make(disk, options));
    auto journal = std::move(*open(disk, options));
    SeededRandom random(11);
    for (std::size_t size : {100, 0, 200, 301, 7}) {
      Batch batch{journal->last().value + 1, 2, random.bytes(size)};
      REQUIRE(journal->append(batch.body, batch.count));
      batches.push_back(std::move(batch));
    }
    last = journal->last().value;
    REQUIRE(disk.list(folder)->size() == 2);
  }
};

TEST_CASE("any single damaged byte is noticed or harmless, and never makes a wrong record") {
  const SmallJournal journal;
  std::size_t refused = 0, cut = 0, harmless = 0;
  for (const auto& [path, content] : journal.disk.snapshot()) {
    for (std::uint64_t offset = 0; offset < content.size(); ++offset) {
      for (const int flip : {0x01, 0x80, 0xFF}) {
        INFO(path << " byte " << offset << " flip " << flip);
        const auto disk = journal.disk.clone();
        disk->damage(path, offset, Bytes(1, static_cast<std::uint8_t>(content[offset] ^ flip)));
        const auto before = disk->snapshot();

        auto guarded = open(*disk, {1024}, Lsn(journal.last));
        if (!guarded)
          REQUIRE(disk->snapshot() == before);
        else
          REQUIRE(*read_all(**guarded) == journal.batches);

        auto opened = open(*disk, {1024});
        if (!opened) {
          const Code code = opened.error().code;
          REQUIRE((code == Code::corrupt || code == Code::key || code == Code::newer_format));
          REQUIRE(disk->snapshot() == before);
          ++refused;
          continue;
        }
        // Only the last batch can be taken for one that a crash tore.
        auto found = *read_all(**opened);
        if (found.size() == journal.batches.size()) {
          ++harmless;
        } else {
          found.push_back(journal.batches.back());
          ++cut;
        }
        REQUIRE(found == journal.batches);
      }
    }
  }
  CHECK(refused > 1000);
  CHECK(cut > 100);
  CHECK(harmless > 100);
}

TEST_CASE("a journal file cut to any length is refused and left as it is") {
  const SmallJournal journal;
  for (const auto& [path, content] : journal.disk.snapshot()) {
    for (std::uint64_t size = 0; size < content.size(); ++size) {
      INFO(path << " cut to " << size);
      const auto disk = journal.disk.clone();
      disk->cut(path, size);
      const auto before = disk->snapshot();
      auto opened = open(*disk, {1024});
      REQUIRE_FALSE(opened);
      REQUIRE(opened.error().code == Code::corrupt);
      REQUIRE(opened.error().what.find(path) != std::string::npos);
      REQUIRE(disk->snapshot() == before);
    }
  }
}

TEST_CASE("a missing file in the middle, a foreign file in its place and files in the wrong order are refused") {
  MemoryDisk disk;
  REQUIRE(make(disk, {1024}));
  {
    auto journal = std::move(*open(disk, {1024}));
    for (int i = 0; i < 10; ++i) REQUIRE(journal->append(Bytes(400, 1), 1));
  }
  const auto names = *disk.list(folder);
  REQUIRE(names.size() >= 4);
  const auto refused = [](MemoryDisk& changed) {
    const auto before = changed.snapshot();
    auto opened = open(changed, {1024});
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code == Code::corrupt);
    CHECK(changed.snapshot() == before);
  };
  SECTION("missing") {
    const auto changed = disk.clone();
    REQUIRE(changed->remove(folder + "/" + names[1]));
    refused(*changed);
  }
  SECTION("renamed") {
    const auto changed = disk.clone();
    REQUIRE(changed->rename(folder + "/" + names[1], folder + "/" + names[2]));
    refused(*changed);
  }
  SECTION("an older state of a file") {
    const auto changed = disk.clone();
    auto file = std::move(*changed->open(folder + "/" + names[1], OpenMode::write));
    REQUIRE(file->write(128 + 64, Bytes(800, 0)));
    refused(*changed);
  }
}

TEST_CASE("damage before a later whole batch is refused, wherever the damage lies") {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    INFO("seed " << seed);
    SeededRandom random(seed);
    MemoryDisk disk;
    REQUIRE(make(disk, {16384}));
    std::vector<std::uint64_t> offsets{128};
    {
      auto journal = std::move(*open(disk, {16384}));
      for (int i = 0; i < 12; ++i) {
        const auto size = random.below(900);
        REQUIRE(journal->append(random.bytes(size), 1));
        offsets.push_back(offsets.back() + (64 + size + 32 + 7) / 8 * 8);
      }
    }
    const std::string path = folder + "/00000000000000000001.log";
    // From inside any batch but the last, over at most all but the last.
    const auto hit = random.below(11);
    const auto from = offsets[hit] + random.below(64);
    const auto length = 1 + random.below(offsets[11] - from);
    disk.damage(path, from, random.chance(0.5) ? Bytes(length, 0) : random.bytes(length));
    const auto before = disk.snapshot();
    auto opened = open(disk, {16384});
    if (opened) {
      REQUIRE(read_all(**opened)->size() == 12);  // zeros over zeros, or the same bytes
      continue;
    }
    REQUIRE(opened.error().code == Code::corrupt);
    REQUIRE(opened.error().what.find(path) != std::string::npos);
    REQUIRE(disk.snapshot() == before);
  }
}

TEST_CASE("a batch of another history under the same number is refused") {
  MemoryDisk disk;
  REQUIRE(make(disk, {4096}));
  const auto other = disk.clone();
  for (const auto& [where, byte] : {std::pair<MemoryDisk*, std::uint8_t>{&disk, 1}, {other.get(), 2}}) {
    auto journal = std::move(*open(*where, {4096}));
    for (int i = 0; i < 2; ++i) REQUIRE(journal->append(Bytes(96, byte), 1));
  }
  const std::string path = folder + "/00000000000000000001.log";
  const std::size_t batch = 64 + 96 + 32;
  const Bytes foreign = other->content(path);
  disk.damage(path, 128 + batch, ByteView(foreign).subspan(128 + batch, batch));
  const auto opened = open(disk, {4096});
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Code::corrupt);
}

}  // namespace
}  // namespace atl
