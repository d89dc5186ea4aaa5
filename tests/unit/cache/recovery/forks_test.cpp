// A drive that went on in two places: what is seen of it, who goes on, and that nothing is lost until somebody has decided.
#include <catch2/catch.hpp>

#include "cache/recovery/fork.h"
#include "cache/recovery/take_over.h"
#include "tests/support/recovery_fixture.h"

using namespace atl;

namespace {

DriveOptions no_grace() {
  DriveOptions options;
  options.gc_grace = Duration(0);
  return options;
}

struct Places : RecoveryFixture {
  explicit Places(std::uint64_t seed = 1) : RecoveryFixture({3, 6}, no_grace(), seed) {}
  bool contested() { return drive->status().counters.at("claims_contested") != 0; }
};

}  // namespace

TEST_CASE("of several claims of one epoch one counts, and whoever can tell comes to the same", "[forks]") {
  const Bytes a{1}, b{2}, c{3};
  CHECK(winning_claim({{a, 4}, {b, 1}}, 6) == a);  // a majority, whatever the sixth holds
  CHECK(winning_claim({{a, 1}, {b, 4}}, 6) == b);
  CHECK_FALSE(winning_claim({{a, 3}, {b, 2}}, 6));
  CHECK(winning_claim({{a, 3}, {b, 3}}, 6) == a);  // equally many: the lowest
  CHECK(winning_claim({{b, 3}, {c, 2}, {a, 1}}, 6) == b);
  CHECK_FALSE(winning_claim({}, 6));
  CHECK(winning_claim({{b, 1}}, 1) == b);
  // Nothing that becomes known later changes an answer.
  for (std::size_t nodes = 1; nodes <= 6; ++nodes)
    for (std::size_t of_a = 0; of_a <= nodes; ++of_a)
      for (std::size_t of_b = 0; of_a + of_b <= nodes; ++of_b) {
        std::map<Bytes, std::size_t> held;
        if (of_a > 0) held[a] = of_a;
        if (of_b > 0) held[b] = of_b;
        const auto now = winning_claim(held, nodes);
        if (!now || of_a + of_b == nodes) continue;
        for (std::size_t more = 0; of_a + of_b + more <= nodes; ++more) {
          auto later = held;
          later[b] += more;
          later[a] += nodes - of_a - of_b - more;
          CHECK(winning_claim(later, nodes) == now);
        }
      }
}

TEST_CASE("two computers that took the drive over on two halves of the nodes: one goes on when they meet", "[forks]") {
  std::set<bool> seen;  // whether the first one went on
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    CAPTURE(seed);
    Places world(seed);
    world.put("file", world.random.bytes(20'000));
    world.sync_full();
    world.close();
    world.only({0, 1});
    CHECK_FALSE(world.recover_elsewhere().certain());
    auto first = std::exchange(world.disk, nullptr);
    world.only({2, 3, 4});
    CHECK_FALSE(world.recover_elsewhere().certain());
    auto second = std::exchange(world.disk, nullptr);

    // One node is still away: whose the epoch is cannot be told, and nodes hear of nothing.
    world.only({0, 1, 2, 3, 4});
    world.take_out(std::move(first));
    world.open();
    world.runtime.advance(std::chrono::seconds(10));
    CHECK(world.contested());
    CHECK(world.drive->status().state == DriveState::ready);
    world.put("by the first", world.random.bytes(1'000));
    const std::size_t heads = world.heads(0);
    world.runtime.advance(std::chrono::minutes(2));
    CHECK(world.heads(0) == heads);
    CHECK(world.contested());

    world.only({0, 1, 2, 3, 4, 5});
    world.runtime.advance(std::chrono::minutes(6));
    CHECK_FALSE(world.contested());
    const bool first_goes_on = world.drive->status().state == DriveState::ready;
    if (first_goes_on) world.sync_full();
    if (!first_goes_on) CHECK(world.drive->status().untold->files == 1);
    first = world.put_away();
    world.take_out(std::move(second));
    world.open();
    world.runtime.advance(std::chrono::minutes(1));
    CHECK((world.drive->status().state == DriveState::ready) == !first_goes_on);
    CHECK((world.drive->status().state == DriveState::fenced) == first_goes_on);
    CHECK_FALSE(world.contested());
    if (!first_goes_on) {
      world.put("by the second", world.random.bytes(1'000));
      world.sync_full();
    }
    seen.insert(first_goes_on);
  }
  CHECK(seen.size() == 2);
}

TEST_CASE("of two computers that take the drive over at the very same moment exactly one goes on", "[forks]") {
  std::set<bool> seen;
  for (int moment = 0; moment < 16; ++moment) {
    CAPTURE(moment);
    Places world(static_cast<std::uint64_t>(moment) + 1);
    world.put("file", world.random.bytes(1'000));
    world.sync_full();
    world.close();
    MemoryDisk disks[2];
    const auto survey = survey_heads(world.seams(), world.engine, world.specs(), world.keyring, Places::patience);
    REQUIRE(survey);
    std::optional<bool> went_on[2];
    const auto claim = [&](int which) {
      DriveSeams seams{disks[which], world.runtime.clock(), world.random, world.runtime};
      REQUIRE(disks[which].make_directory(world.directory()));
      const auto claimed = claim_epoch(seams, world.directory(), world.engine, world.specs(), world.keyring, 2, HistoryPoint::of(*survey->head), Places::patience);
      if (!claimed) CHECK(claimed.error().code == Code::fenced);
      went_on[which] = claimed.has_value();
    };
    // The second one comes between two steps of the first.
    std::function<void(int)> later = [&](int steps) {
      world.runtime.post([&, steps] { steps == 0 ? claim(1) : later(steps - 1); });
    };
    later(moment);
    claim(0);
    world.runtime.run_until_idle();
    REQUIRE(went_on[0]);
    REQUIRE(went_on[1]);
    CHECK(*went_on[0] != *went_on[1]);
    seen.insert(*went_on[0]);
  }
  CHECK(seen.size() == 2);
}

TEST_CASE("a fork is seen and kept: what an earlier owner told other nodes stays readable until somebody decides", "[forks]") {
  Places world;
  const Bytes base = world.random.bytes(300'000);
  world.put("base", base);
  world.sync_full();
  // The old computer tells five nodes more; the sixth, and nobody else, is there when another one takes over.
  world.only({1, 2, 3, 4, 5});
  const Bytes more = world.random.bytes(100'000);
  world.put("more", more);
  REQUIRE(world.drive->sync(SyncLevel::protected_, world.runtime.clock().now() + std::chrono::minutes(5), {}, {}));
  auto old = world.put_away();
  world.only({0});
  CHECK_FALSE(world.recover_elsewhere().certain());
  world.open();
  CHECK_FALSE(world.drive->lookup(root_inode, "more"));
  world.only({0, 1, 2, 3, 4, 5});
  // The new owner goes on as if nothing were there: all that the other state rests on is deleted here.
  const InodeNumber inode = world.drive->lookup(root_inode, "base")->inode;
  REQUIRE(world.drive->unlink(root_inode, "base"));
  world.drive->forget(inode, 1'000'000);
  const Bytes theirs = world.random.bytes(50'000);
  world.put("theirs", theirs);
  world.sync_full();
  CHECK(world.drive->status().counters.at("forks_seen") >= 1);
  world.runtime.advance(std::chrono::minutes(10));
  const auto refused = world.drive->collect_garbage(true, {});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::fenced);
  for (int i = 0; i < 8; ++i) {  // many heads, so that old ones would go
    world.put("theirs", theirs);
    world.sync_full();
  }
  auto owner = world.put_away();

  SECTION("the old computer takes over: both states are in the drive") {
    world.take_out(std::move(old));
    world.open();
    world.runtime.advance(std::chrono::seconds(20));
    REQUIRE(world.drive->status().state == DriveState::fenced);
    CHECK(world.content("base") == base);
    world.close();
    REQUIRE(world.disk->make_directory("/fresh"));
    auto survey = survey_heads(world.seams(), world.engine, world.specs(), world.keyring, Places::patience);
    REQUIRE(survey);
    const auto taken = take_over(world.seams(), world.directory(), "/fresh", world.keyring, world.engine, world.specs(), *survey, "old", Places::patience, {});
    INFO((taken ? std::string() : taken.error().what));
    REQUIRE(taken);
    auto opened = Drive::open(world.seams(), "/fresh", world.keyring, world.options);
    REQUIRE(opened);
    world.drive = std::move(*opened);
    world.drive->start(world.engine);
    CHECK(world.content("theirs") == theirs);
    CHECK(world.content("Recovered from old/more") == more);
    world.sync_full();
    CHECK(world.drive->status().counters.at("forks_seen") == 0);
    REQUIRE(world.drive->collect_garbage(true, {}));
  }
  SECTION("the old computer is lost: the owner brings what the other state has into the drive") {
    world.take_out(std::move(owner));
    const auto forks = survey_forks(world.seams(), world.engine, world.specs(), world.keyring, Places::patience);
    REQUIRE(forks);
    REQUIRE(forks->size() == 1);
    CHECK(forks->front().head.epoch == 1);
    CHECK(forks->front().nodes.size() == 5);
    REQUIRE(forks->front().parting);
    const HeadSurvey survey = world.survey();
    auto opened = Drive::open(world.seams(), world.directory(), world.keyring, world.options);
    REQUIRE(opened);
    REQUIRE(world.disk->make_directory("/fork"));
    const auto brought = bring_fork(world.seams(), **opened, forks->front(), "/fork", world.keyring, world.engine, world.specs(), "Recovered from epoch 1", Places::patience);
    INFO((brought ? std::string() : brought.error().what));
    REQUIRE(brought);
    CHECK(brought->parting_known);
    CHECK(brought->brought.files == 1);
    CHECK(brought->brought.partly.empty());
    REQUIRE((*opened)->close(std::chrono::seconds(10)));
    opened->reset();
    const auto resolved = take_over_in_place(world.seams(), world.directory(), world.keyring, world.engine, world.specs(), survey, Places::patience);
    REQUIRE(resolved);
    REQUIRE(*resolved);
    world.open();
    CHECK(world.content("theirs") == theirs);
    CHECK(world.content("Recovered from epoch 1/more") == more);
    world.sync_full();
    world.runtime.advance(std::chrono::minutes(1));
    CHECK(world.drive->status().counters.at("forks_seen") == 0);
    REQUIRE(world.drive->collect_garbage(true, {}));
    CHECK(world.content("Recovered from epoch 1/more") == more);
    for (int i = 0; i < 4; ++i) {  // the last three heads stay
      world.put("theirs", theirs);
      world.sync_full();
    }
    world.runtime.advance(std::chrono::minutes(6));
    for (std::size_t i = 0; i < 6; ++i) CHECK(world.needless_heads(i) == 0);  // the fork's are gone
  }
  SECTION("the other state still comes back from the nodes, whole") {
    const MetaSealer sealer = *MetaSealer::make(world.keyring);
    std::optional<Head> fork;
    for (const auto& node : world.engine.all())
      for (const auto& [text, object] : node.objects)
        if (const auto name = sealer.parse_head(text, node.spec.id); name && name->epoch == 1) {
          auto plain = sealer.open(*name, object);
          REQUIRE(plain);
          auto head = decode_head(*plain, world.keyring);
          REQUIRE(head);
          if (!fork || newer(*head, *fork)) fork = std::move(*head);
        }
    REQUIRE(fork);
    world.rebuild(*fork);
    world.options.read_only = true;
    world.open();
    CHECK(world.content("base") == base);
    CHECK(world.content("more") == more);
  }
  SECTION("the owner gives the other state up: then its space comes back") {
    world.take_out(std::move(owner));
    REQUIRE(world.disk->make_directory("/fresh"));
    auto survey = survey_heads(world.seams(), world.engine, world.specs(), world.keyring, Places::patience);
    REQUIRE(survey);
    const auto taken = take_over(world.seams(), world.directory(), "/fresh", world.keyring, world.engine, world.specs(), *survey, "new", Places::patience, {});
    REQUIRE(taken);
    CHECK(taken->in_place);
    world.open();
    world.sync_full();
    world.runtime.advance(std::chrono::minutes(1));
    CHECK(world.drive->status().counters.at("forks_seen") == 0);
    REQUIRE(world.drive->collect_garbage(true, {}));
    CHECK(world.content("theirs") == theirs);
    CHECK(world.drive->status().garbage_bytes == 0);
  }
}

TEST_CASE("a node that serves an older state than the others is named", "[forks]") {
  Places world;
  world.put("file", world.random.bytes(1'000));
  world.sync_full();
  const auto state = [&](std::size_t node) { return world.drive->status().nodes[node].state; };
  const auto before = world.engine.all()[2].objects;
  world.put("file", world.random.bytes(2'000));
  world.sync_full();
  CHECK(state(2) == NodeState::ok);
  // Its disk is restored from a backup while nobody looks.
  world.engine.all()[2].objects = before;
  world.runtime.advance(std::chrono::minutes(6));
  CHECK(state(2) == NodeState::stale);
  CHECK(world.drive->status().nodes[2].last_error.find("backup") != std::string::npos);
  CHECK(state(3) == NodeState::ok);
  world.runtime.advance(std::chrono::minutes(20));
  CHECK(state(2) == NodeState::ok);  // it was given what it lacked
  // One that was away serves the old state for a moment only; one that takes nothing goes on serving it.
  world.only({0, 1, 2, 3, 5});
  world.put("file", world.random.bytes(3'000));
  REQUIRE(world.drive->sync(SyncLevel::protected_, world.runtime.clock().now() + std::chrono::minutes(5), {}, {}));
  world.only({0, 1, 2, 3, 4, 5});
  world.runtime.advance(std::chrono::seconds(20));
  CHECK(state(4) == NodeState::ok);
}

namespace {

/// An earlier owner told nodes 1 to 5 of `more`; the new one, whose disk this is, took over from what node 0 knew, and has
/// deleted `base` since. Node 0 alone is there.
struct Forked : Places {
  Bytes base, more;
  std::unique_ptr<MemoryDisk> old;
  Forked() {
    base = random.bytes(300'000);
    put("base", base);
    sync_full();
    only({1, 2, 3, 4, 5});
    more = random.bytes(100'000);
    put("more", more);
    REQUIRE(drive->sync(SyncLevel::protected_, runtime.clock().now() + std::chrono::minutes(5), {}, {}));
    old = put_away();
    only({0});
    recover_elsewhere();
    open();
    const InodeNumber inode = find("base");
    REQUIRE(drive->unlink(root_inode, "base"));
    drive->forget(inode, 1'000'000);
    REQUIRE(drive->commit());
  }
  std::uint64_t removed() { return drive->status().counters.at("objects_removed"); }
};

}  // namespace

TEST_CASE("after a restart nothing is removed before all nodes that are there have said what heads they hold", "[forks]") {
  // The two that know of the fork do not say so at first.
  Forked world;
  world.close();
  world.only({0, 1, 2, 3, 4, 5});
  const MetaSealer sealer = *MetaSealer::make(world.keyring);
  const auto head_of = [&](const std::string& text, std::size_t node) { return sealer.parse_head(text, world.engine.all()[node].spec.id); };
  MetaName parting;
  for (const auto& [text, object] : world.engine.all()[0].objects)
    if (const auto name = head_of(text, 0)) parting = std::max(parting, *name);
  for (std::size_t i : {1, 2, 3})
    std::erase_if(world.engine.all()[i].objects, [&](const auto& item) {
      const auto name = head_of(item.first, i);
      return name && *name > parting;
    });
  for (std::size_t i : {4, 5}) world.moods.mute.insert(world.node_id(i));
  world.open();
  world.runtime.advance(std::chrono::minutes(3));
  CHECK(world.drive->status().counters.at("forks_seen") == 0);
  CHECK(world.removed() == 0);
  const auto refused = world.drive->collect_garbage(true, {});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::too_few_nodes);
  CHECK(world.removed() == 0);
  world.moods.mute.clear();
  world.runtime.advance(std::chrono::minutes(1));
  CHECK(world.drive->status().counters.at("forks_seen") >= 1);
  CHECK(world.removed() == 0);
}

TEST_CASE("a fork that was seen stays known while the nodes that tell of it are away", "[forks]") {
  Forked world;
  world.only({0, 1, 2, 3, 4, 5});
  world.runtime.advance(std::chrono::minutes(1));
  CHECK(world.drive->status().counters.at("forks_seen") >= 1);
  world.close();
  const MetaSealer sealer = *MetaSealer::make(world.keyring);
  for (std::size_t i : {1, 2, 3, 4, 5}) {  // their disks are gone
    auto& node = world.engine.all()[i];
    std::erase_if(node.objects, [&](const auto& item) {
      const auto name = sealer.parse_head(item.first, node.spec.id);
      return name && name->epoch == 1;
    });
  }
  world.open();
  world.runtime.advance(std::chrono::minutes(3));
  CHECK(world.drive->status().counters.at("forks_seen") >= 1);
  CHECK(world.removed() == 0);
  const auto refused = world.drive->collect_garbage(true, {});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::fenced);
}
