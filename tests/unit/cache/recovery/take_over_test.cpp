// An old computer that takes its drive back: what both saved is there afterwards.
#include "cache/recovery/take_over.h"

#include <catch2/catch.hpp>

#include "tests/support/effort.h"
#include "tests/support/recovery_fixture.h"

using namespace atl;

namespace {

struct TwoComputers : RecoveryFixture {
  Result<TakenOver> take_over_here(const std::string& fresh = "/fresh") {
    const HeadSurvey found = survey();
    if (auto made = disk->make_directory(fresh); !made) return fail(made.error());
    return take_over(seams(), directory(), fresh, keyring, engine, specs(), found, "old", patience, {});
  }
  void open_fresh(const std::string& fresh = "/fresh") {
    auto opened = Drive::open(seams(), fresh, keyring, options);
    INFO((opened ? std::string() : opened.error().what));
    REQUIRE(opened);
    drive = std::move(*opened);
    drive->start(engine);
  }
  Bytes same, first, theirs, ours, note;

  /// Both computers save after their histories parted; the old one is the one whose turn it is then, fenced or about to be.
  std::unique_ptr<MemoryDisk> part() {
    same = random.bytes(30'000);
    first = random.bytes(400'000);
    put("same", same);
    put("file", first);
    put("gone", same);
    REQUIRE(drive->make_directory(root_inode, "folder", 0750, caller));
    sync_full();
    auto old = put_away();
    recover_elsewhere();
    open();
    theirs = random.bytes(50'000);
    put("file", theirs);
    put("theirs", theirs);
    sync_full();
    auto other = put_away();
    runtime.advance(std::chrono::seconds(1));  // no two changes at one moment
    take_out(std::move(old));
    absent(true);
    open();
    ours = random.bytes(200'000);
    write(find("file"), 100, ours);
    note = random.bytes(5'000);
    const InodeNumber made = make_file(find("folder"), "note").inode;
    write(made, 1'000'000, note);  // behind a hole
    REQUIRE(drive->set_xattr(made, "user.colour", as_bytes("blue"), SetXattrMode::create));
    REQUIRE(drive->link(made, root_inode, "second"));
    REQUIRE(drive->make_symlink(root_inode, "link", "folder/note", caller));
    REQUIRE(drive->unlink(root_inode, "gone"));
    AttributeChange old_time;
    old_time.mtime = Timestamp{915'148'800, 123};
    old_time.mode = 0604;
    REQUIRE(drive->change_attributes(made, old_time));
    close();
    absent(false);
    return other;
  }
  void check_both() {
    Bytes now = first;
    std::copy(ours.begin(), ours.end(), now.begin() + 100);
    Bytes both = first;
    std::copy(theirs.begin(), theirs.end(), both.begin());
    CHECK(content("file") == both);
    CHECK(content("theirs") == theirs);
    CHECK(content("same") == same);
    CHECK(content("gone") == same);
    const std::string in = "Recovered from old/";
    CHECK(content(in + "file") == now);
    Bytes expected(1'000'000);
    expected.insert(expected.end(), note.begin(), note.end());
    CHECK(content(in + "folder/note") == expected);
    CHECK(find(in + "second") == find(in + "folder/note"));
    const Attributes attributes = *drive->attributes(find(in + "second"));
    CHECK(attributes.links == 2);
    CHECK(attributes.mode == 0100604);
    CHECK(attributes.mtime == Timestamp{915'148'800, 123});
    CHECK(attributes.allocated_bytes <= 200'000);  // the hole is one
    CHECK(*drive->get_xattr(find(in + "second"), "user.colour") == Bytes{'b', 'l', 'u', 'e'});
    CHECK(*drive->read_symlink(find(in + "link")) == "folder/note");
    CHECK((drive->attributes(find(in + "folder"))->mode & 07777) == 0750);
  }
};

}  // namespace

TEST_CASE("after a take-over the drive holds what both computers saved, and the other one is fenced", "[take-over]") {
  TwoComputers world;
  auto other = world.part();
  const auto taken = world.take_over_here();
  INFO((taken ? std::string() : taken.error().what));
  REQUIRE(taken);
  CHECK_FALSE(taken->in_place);
  CHECK(taken->parting_known);
  CHECK(taken->claim.epoch == 3);
  CHECK(taken->claim.certain());
  CHECK(taken->brought.folder == "Recovered from old");
  CHECK(taken->brought.partly.empty());
  // The old folder is as it was, should nobody come to swap it.
  world.open(false);
  CHECK(world.content("folder/note").size() == 1'005'000);
  world.close();

  world.open_fresh();
  world.check_both();
  CHECK_FALSE(world.drive->lookup(world.find("Recovered from old"), "same"));
  CHECK_FALSE(world.drive->lookup(world.find("Recovered from old"), "theirs"));
  world.sync_full();
  CHECK(world.drive->status().state == DriveState::ready);
  CHECK(world.drive->status().epoch == 3);
  world.check_both();
  world.put_away();

  world.take_out(std::move(other));
  world.open();
  world.runtime.advance(std::chrono::seconds(20));
  CHECK(world.drive->status().state == DriveState::fenced);
  REQUIRE(world.drive->status().untold);
  CHECK(world.drive->status().untold->changes == 0);
}

TEST_CASE("a take-over that does not know where the histories parted brings all that looks different", "[take-over]") {
  TwoComputers world;
  world.part();
  const MetaSealer sealer = *MetaSealer::make(world.keyring);
  for (auto& node : world.engine.all())
    std::erase_if(node.objects, [&](const auto& item) { return sealer.parse_claim(item.first, node.spec.id).has_value(); });
  const auto taken = world.take_over_here();
  REQUIRE(taken);
  CHECK_FALSE(taken->parting_known);
  world.open_fresh();
  world.check_both();
  CHECK_FALSE(world.drive->lookup(world.find("Recovered from old"), "same"));
}

TEST_CASE("a computer that knew all that the nodes know takes over in place, and tells them the rest", "[take-over]") {
  TwoComputers world;
  world.put("file", world.random.bytes(10'000));
  world.sync_full();
  auto old = world.put_away();
  world.recover_elsewhere();  // and goes no further than its claim
  auto other = std::exchange(world.disk, nullptr);
  world.take_out(std::move(old));
  world.absent(true);
  world.open();
  const Bytes note = world.random.bytes(3'000);
  world.put("note", note);
  REQUIRE(world.drive->commit());
  world.absent(false);
  world.runtime.advance(std::chrono::seconds(20));
  REQUIRE(world.drive->status().state == DriveState::fenced);
  world.close();
  const auto taken = world.take_over_here();
  INFO((taken ? std::string() : taken.error().what));
  REQUIRE(taken);
  CHECK(taken->in_place);
  world.open();
  CHECK(world.drive->status().state != DriveState::fenced);
  CHECK(world.content("note") == note);
  world.put("more", note);
  world.sync_full();
  CHECK(world.drive->status().epoch == 3);
  world.put_away();
  world.take_out(std::move(other));
  world.open();
  world.runtime.advance(std::chrono::seconds(20));
  CHECK(world.drive->status().state == DriveState::fenced);
}

TEST_CASE("of two computers that take over at one moment, one is told", "[take-over]") {
  TwoComputers world;
  world.part();
  const auto before = survey_heads(world.seams(), world.engine, world.specs(), world.keyring, TwoComputers::patience);
  REQUIRE(before);
  const auto claim = [&](std::uint32_t epoch) {
    return claim_epoch(world.seams(), world.directory(), world.engine, world.specs(), world.keyring, epoch, HistoryPoint::of(*before->head), TwoComputers::patience);
  };
  REQUIRE(claim(before->epoch_max + 1));
  REQUIRE(world.disk->make_directory("/fresh"));
  const auto second = take_over(world.seams(), world.directory(), "/fresh", world.keyring, world.engine, world.specs(), *before, "old", TwoComputers::patience, {});
  REQUIRE_FALSE(second);
  CHECK(second.error().code == Code::fenced);
}

namespace {

/// What a take-over begins with.
struct Before {
  explicit Before(TwoComputers& world) : disk(world.disk->clone()), nodes(world.engine.all()) {}
  void restore(TwoComputers& world) const {
    world.drive.reset();
    world.disk = disk->clone();
    world.engine.all() = nodes;
  }
  std::unique_ptr<MemoryDisk> disk;
  std::vector<FakeEngine::FakeNode> nodes;
};

/// The folder as it was, and then a second try.
void take_over_again(TwoComputers& world) {
  world.open(false);
  CHECK(world.content("folder/note").size() == 1'005'000);
  CHECK_FALSE(world.there("theirs"));
  CHECK_FALSE(world.there("gone"));
  world.close();
  const auto again = world.take_over_here("/fresh-2");
  INFO((again ? std::string() : again.error().what));
  REQUIRE(again);
  CHECK_FALSE(again->in_place);
  CHECK(again->parting_known);
  CHECK(again->brought.partly.empty());
  world.open_fresh("/fresh-2");
}

void check_once(TwoComputers& world) {
  world.check_both();
  CHECK(world.there("Recovered from old"));
  CHECK_FALSE(world.there("Recovered from old (2)"));
}

}  // namespace

TEST_CASE("a take-over that the power ends at any moment leaves the old state whole, and succeeds when it is done again", "[take-over]") {
  TwoComputers world;
  world.part();
  const Before before(world);
  const std::uint64_t first = world.disk->changes() + 1;
  REQUIRE(world.take_over_here());
  const std::uint64_t calls = world.disk->changes() - first;
  REQUIRE(calls > 100);
  for (std::uint64_t nth = 1; nth <= calls; nth += effort<std::uint64_t>(1, 13)) {
    CAPTURE(nth);
    before.restore(world);
    world.disk->power_off_at(nth);
    (void)world.take_over_here();
    world.disk = world.disk->crash(nth);
    take_over_again(world);
    check_once(world);
  }
}

TEST_CASE("a take-over whose disk fails at any call either fails, and nothing is lost, or has succeeded", "[take-over]") {
  TwoComputers world;
  world.part();
  const Before before(world);
  const std::uint64_t first = world.disk->calls() + 1;
  REQUIRE(world.take_over_here());
  const std::uint64_t calls = world.disk->calls() - first;
  std::size_t failed = 0;
  for (std::uint64_t nth = 1; nth <= calls; nth += effort<std::uint64_t>(5, 61)) {
    CAPTURE(nth);
    before.restore(world);
    world.disk->fail_call(nth, {nth % 2 == 0 ? Code::io : Code::no_space, nth % 3 == 0});
    const auto taken = world.take_over_here();
    world.disk->clear_faults();
    if (taken) {
      CHECK(taken->brought.partly.empty());
      world.open_fresh();
    } else {
      ++failed;
      take_over_again(world);
    }
    check_once(world);
  }
  CHECK(failed > 0);
}

TEST_CASE("a take-over in place that the power ends at any moment is done by doing it again", "[take-over]") {
  TwoComputers world;
  world.put("file", world.random.bytes(10'000));
  world.sync_full();
  auto old = world.put_away();
  world.recover_elsewhere();
  world.take_out(std::move(old));
  world.absent(true);
  world.open();
  const Bytes note = world.random.bytes(3'000);
  world.put("note", note);
  REQUIRE(world.drive->commit());
  world.absent(false);
  world.runtime.advance(std::chrono::seconds(20));
  REQUIRE(world.drive->status().state == DriveState::fenced);
  world.close();
  const Before before(world);
  const std::uint64_t first = world.disk->changes() + 1;
  REQUIRE(world.take_over_here());
  const std::uint64_t calls = world.disk->changes() - first;
  REQUIRE(calls > 5);
  for (std::uint64_t nth = 1; nth <= calls; ++nth) {
    CAPTURE(nth);
    before.restore(world);
    world.disk->power_off_at(nth);
    (void)world.take_over_here();
    world.disk = world.disk->crash(nth);
    const auto again = world.take_over_here("/fresh-2");
    INFO((again ? std::string() : again.error().what));
    REQUIRE(again);
    CHECK(again->in_place);
    world.open();
    CHECK(world.content("note") == note);
    world.put("more", note);
    world.sync_full();
    CHECK(world.drive->status().state == DriveState::ready);
  }
}

TEST_CASE("heads that a take-over has made superfluous leave the nodes", "[take-over]") {
  TwoComputers world;
  world.part();
  REQUIRE(world.take_over_here());
  world.open_fresh();
  for (int i = 0; i < 4; ++i) {  // the last three heads stay
    REQUIRE(world.drive->make_directory(root_inode, "new folder " + std::to_string(i), 0755, world.caller));
    world.sync_full();
  }
  world.runtime.advance(std::chrono::minutes(6));
  for (std::size_t i = 0; i < 6; ++i) CHECK(world.needless_heads(i) == 0);
  world.check_both();
}

TEST_CASE("what a replaced computer had left on nodes goes when it has taken over: shards that no head named, and old heads", "[take-over]") {
  TwoComputers world;
  world.options.gc_grace = Duration(0);
  world.close();
  world.open();
  world.put("file", world.random.bytes(300'000));
  world.sync_full();
  for (int i = 0; i < 3; ++i) {
    world.put("early", world.random.bytes(1'000));
    world.sync_full();
  }
  auto old = world.put_away();
  world.recover_elsewhere();
  world.open();
  const Bytes theirs = world.random.bytes(50'000);
  world.put("theirs", theirs);
  world.sync_full();
  world.put_away();
  // Nodes take its shards and no head, so that it does not learn of the other one either.
  world.take_out(std::move(old));
  for (auto& node : world.engine.all()) {
    node.refuses = true;
    world.moods.mute.insert(node.spec.id);
  }
  const std::uint64_t stored = world.engine.stored_bytes();
  world.open();
  const Bytes ours = world.random.bytes(1'000'000);
  world.put("ours", ours);
  world.runtime.advance(std::chrono::minutes(2));
  CHECK(world.engine.stored_bytes() > stored + 1'500'000);
  world.close();
  for (auto& node : world.engine.all()) node.refuses = false;
  world.moods.mute.clear();
  const auto taken = world.take_over_here();
  INFO((taken ? std::string() : taken.error().what));
  REQUIRE(taken);
  CHECK_FALSE(taken->in_place);
  CHECK(world.engine.stored_bytes() > stored + 1'500'000);  // nothing goes at once
  world.open_fresh();
  CHECK(world.content("Recovered from old/ours") == ours);
  CHECK(world.content("theirs") == theirs);
  world.sync_full();
  world.runtime.advance(std::chrono::minutes(10));
  REQUIRE(world.drive->collect_garbage(true, {}));
  CHECK(world.content("Recovered from old/ours") == ours);
  for (const char* path : {"Recovered from old/ours", "Recovered from old", "theirs", "file", "early"}) {
    const InodeNumber inode = world.find(path);
    const std::string name = std::string(path).substr(std::string(path).find('/') + 1);
    const InodeNumber parent = name == path ? root_inode : world.find("Recovered from old");
    if (std::string(path) == "Recovered from old")
      REQUIRE(world.drive->remove_directory(root_inode, name));
    else
      REQUIRE(world.drive->unlink(parent, name));
    world.drive->forget(inode, 1'000'000);
  }
  world.sync_full();
  REQUIRE(world.drive->collect_garbage(true, {}));
  for (int i = 0; i < 4; ++i) {  // the last three heads stay
    REQUIRE(world.drive->make_directory(root_inode, "folder " + std::to_string(i), 0755, world.caller));
    world.sync_full();
  }
  world.runtime.advance(std::chrono::minutes(1));
  const MetaSealer sealer = *MetaSealer::make(world.keyring);
  for (std::size_t i = 0; i < 6; ++i) {
    CAPTURE(i);
    const auto& node = world.engine.all()[i];
    const std::string prefixes[] = {sealer.head_prefix(node.spec.id), sealer.claim_prefix(node.spec.id), sealer.part_prefix(node.spec.id)};
    CHECK(std::none_of(node.objects.begin(), node.objects.end(), [&](const auto& object) {
      return std::none_of(std::begin(prefixes), std::end(prefixes), [&](const std::string& prefix) { return object.first.starts_with(prefix); });
    }));
    CHECK(world.needless_heads(i) == 0);
  }
}
