// The promise: any k of n nodes and the keys bring the drive back, to a state that it had and not before what was
// reported as protected.
#include "cache/recovery/recovery.h"

#include <catch2/catch.hpp>

#include <map>

#include "tests/support/drive_fixture.h"
#include "tests/support/effort.h"

using namespace atl;

namespace {

using Tree = std::map<std::string, Bytes>;

struct World : DriveFixture {
  explicit World(std::uint64_t seed = 1, Redundancy redundancy = {3, 6}, DriveOptions options_ = quick())
      : DriveFixture(redundancy, options_, seed) {}
  static DriveOptions quick() {
    DriveOptions options;
    options.gc_grace = Duration(0);  // what an unsafe removal would take is gone at once
    return options;
  }

  std::vector<NodeSpec> specs() { return FakeEngine::specs(engine.all()); }
  Result<HeadSurvey> survey() { return survey_heads(seams(), engine, specs(), keyring, std::chrono::seconds(5)); }

  /// Everything that `atoll recover` does between reading the kit and naming the folder.
  Result<EpochClaim> recover() {
    auto found = survey();
    if (!found) return fail(found.error());
    if (!found->head) return fail(Code::too_few_nodes, "no node has a head");
    if (auto rebuilt = rebuild_state(seams(), directory(), engine, *found->head, keyring, specs(), std::chrono::seconds(5), {}); !rebuilt)
      return fail(rebuilt.error());
    return claim_epoch(seams(), directory(), engine, specs(), keyring, found->epoch_max + 1, HistoryPoint::of(*found->head), std::chrono::seconds(5));
  }
  Tree tree() {
    Tree all;
    std::vector<std::pair<std::string, InodeNumber>> names;
    REQUIRE(drive->list_directory(root_inode, 2, false, [&](const DirectoryEntry& entry) {
      names.emplace_back(entry.name, entry.inode);
      return true;
    }));
    for (const auto& [name, inode] : names) all[name] = read(inode, 0, 4'000'000);
    return all;
  }
  void put(const std::string& name, const Bytes& content) {
    auto found = drive->lookup(root_inode, name);
    write(found ? found->inode : make_file(root_inode, name).inode, 0, content);
  }
  Result<> sync_protected() { return drive->sync(SyncLevel::protected_, runtime.clock().now() + std::chrono::minutes(5), {}, {}); }
  void absent(std::initializer_list<std::size_t> gone) {
    for (std::size_t i = 0; i < engine.all().size(); ++i) engine.all()[i].absent = std::find(gone.begin(), gone.end(), i) != gone.end();
    engine.changed();
  }
};

}  // namespace

TEST_CASE("every choice of three of six nodes brings everything back on a new computer") {
  World world;
  Tree made;
  for (int i = 0; i < 12; ++i) {
    const std::string name = "file" + std::to_string(i);
    made[name] = world.random.bytes(40'000 * i + 100);
    world.put(name, made[name]);
    if (i == 5) REQUIRE(world.sync_protected());
  }
  world.sync_full();
  world.lose_computer();
  for (unsigned mask = 0; mask < 64; ++mask) {
    if (__builtin_popcount(mask) != 3) continue;
    CAPTURE(mask);
    for (std::size_t i = 0; i < 6; ++i) world.engine.all()[i].absent = (mask >> i & 1) != 0;
    const std::uint64_t reads = world.engine.counters().node_reads;
    REQUIRE(world.recover());
    world.open();
    CHECK(world.tree() == made);
    CHECK(world.engine.counters().node_reads > reads);
    world.lose_computer();
  }
}

TEST_CASE("what became full after its head is known to a new computer as full") {
  World world;
  const Bytes content = world.random.bytes(400'000);
  world.absent({5});
  world.put("file", content);
  REQUIRE(world.sync_protected());  // the head tells of five shards
  world.absent({});
  SECTION("since somebody waits for it") { world.sync_full(); }
  SECTION("after a while, by itself") {
    world.runtime.advance(std::chrono::seconds(30));
    CHECK(world.drive->status().protection == Protection::protected_);  // five shards are told of, and the sixth is not
    world.runtime.advance(3 * world.options.ship_interval);
  }
  CHECK(world.drive->status().protection == Protection::full);
  const std::uint64_t generation = world.drive->status().generation;
  world.runtime.advance(std::chrono::minutes(10));
  CHECK(world.drive->status().generation == generation);  // one head is enough
  world.lose_computer();
  world.absent({0, 1, 2});
  REQUIRE(world.recover());
  world.open();
  CHECK(world.tree() == Tree{{"file", content}});
}

TEST_CASE("a head is made while somebody writes without end, and what it names is on nodes") {
  World world;
  std::vector<Tree> history(1);
  // 60 seconds of steady overwriting: each moment some bytes are new, and some of a moment ago are dead.
  for (int step = 0; step < 600; ++step) {
    Tree next = history.back();
    const std::string name = "f" + std::to_string(step % 5);
    next[name] = world.random.bytes(150'000);
    world.put(name, next[name]);
    history.push_back(next);
    world.runtime.advance(std::chrono::milliseconds(100));
  }
  CHECK(world.drive->status().generation >= 2);
  world.lose_computer();
  world.absent({0, 2, 4});
  REQUIRE(world.recover());
  world.open();
  const auto found = std::find(history.rbegin(), history.rend(), world.tree());
  REQUIRE(found != history.rend());
  CHECK(found - history.rbegin() < 300);  // ship_max is 15 s, which are 150 steps
}

TEST_CASE("after any history, a new computer finds a state that was, not before what was protected") {
  const std::uint64_t seed = GENERATE(range<std::uint64_t>(1, effort(60, 16)));
  CAPTURE(seed);
  World world(seed);
  SeededRandom random(seed * 101);
  std::vector<Tree> history(1);
  for (int life = 0; life < 3; ++life) {
    std::size_t safe = 0;  // what was protected in this life, or what it began with
    const std::size_t steps = 10 + random.below(60);
    for (std::size_t step = 0; step < steps; ++step) {
      Tree next = history.back();
      const std::string name = "f" + std::to_string(random.below(6));
      const std::string other = "g" + std::to_string(random.below(3));
      switch (random.below(12)) {
        case 0:
          if (next.erase(name) > 0) {
            const InodeNumber inode = world.drive->lookup(root_inode, name)->inode;
            REQUIRE(world.drive->unlink(root_inode, name));
            world.drive->forget(inode, 1'000'000);
          }
          break;
        case 1:
          if (next.contains(name)) {
            next[other] = next[name];
            next.erase(name);
            REQUIRE(world.drive->rename(root_inode, name, root_inode, other, RenameMode::replace));
          }
          break;
        case 2: world.runtime.advance(std::chrono::milliseconds(random.below(20'000))); break;
        case 3:
          REQUIRE(world.sync_protected());
          safe = history.size() - 1;
          break;
        case 4:
          world.absent({});
          world.runtime.advance(std::chrono::seconds(12));
          REQUIRE(world.drive->collect_garbage(true, {}));
          break;
        case 5:
          world.absent({random.below(6)});
          break;
        case 6:
          world.absent({});
          world.runtime.advance(std::chrono::seconds(12));
          REQUIRE(world.drive->drop_cache());
          break;
        default: {
          if (!next.contains(name)) {
            world.make_file(root_inode, name);
            next[name] = {};
            history.push_back(next);
          }
          const InodeNumber inode = world.drive->lookup(root_inode, name)->inode;
          const Bytes content = random.bytes(1 + random.below(random.below(4) == 0 ? 700'000 : 9'000));
          const std::uint64_t offset = random.below(next[name].size() + 1);
          world.write(inode, offset, content);
          Bytes& file = next[name];
          if (file.size() < offset + content.size()) file.resize(offset + content.size());
          std::copy(content.begin(), content.end(), file.begin() + static_cast<std::ptrdiff_t>(offset));
        }
      }
      if (next != history.back()) history.push_back(next);
    }
    if (safe == 0 && life == 0) {
      REQUIRE(world.sync_protected());
      safe = history.size() - 1;
    }
    // The computer goes in the middle of whatever it was shipping, and with it as many nodes as `protected` allows.
    world.lose_computer();
    world.absent({random.below(6), random.below(6)});
    auto recovered = world.recover();
    INFO((recovered ? std::string() : recovered.error().what));
    REQUIRE(recovered);
    world.open();
    const Tree now = world.tree();
    const auto found = std::find(history.rbegin(), history.rend(), now);
    REQUIRE(found != history.rend());
    const std::size_t place = static_cast<std::size_t>(history.rend() - found) - 1;
    CHECK(place >= safe);
    history.resize(place + 1);
    world.absent({});
    world.runtime.advance(std::chrono::seconds(12));
    CHECK(world.drive->status().state == DriveState::ready);
    CHECK(world.drive->status().epoch == static_cast<std::uint32_t>(life) + 2);
    REQUIRE(world.sync_protected());
    history = {history.back()};
  }
}

TEST_CASE("replaying what the nodes hold gives the same rows as the live drive has") {
  World world;
  for (int i = 0; i < 30; ++i) world.put("f" + std::to_string(i % 7), world.random.bytes(20'000));
  world.sync_full();
  world.runtime.advance(std::chrono::seconds(3));
  world.put("last", world.random.bytes(10));
  world.sync_full();
  const auto tree = world.tree();
  world.lose_computer();
  REQUIRE(world.recover());
  world.open(false);
  const Bytes once = *world.drive->digest();
  world.close();
  world.remove_index();
  world.open(false);
  CHECK(*world.drive->digest() == once);
  world.drive->start(world.engine);
  CHECK(world.tree() == tree);
}

TEST_CASE("an old computer that wakes up finds that the drive has a new owner, and changes nothing") {
  World world;
  const Bytes before = world.random.bytes(50'000);
  world.put("file", before);
  world.sync_full();
  world.close();
  // The other computer has a disk of its own, and the same nodes.
  auto old_disk = std::move(world.disk);
  world.disk = std::make_unique<MemoryDisk>();
  world.lose_computer();
  REQUIRE(world.recover());
  world.open();
  const Bytes after = world.random.bytes(60'000);
  world.put("file", after);
  world.sync_full();
  world.close();
  auto new_disk = std::move(world.disk);
  const auto objects = [&] {
    std::size_t count = 0;
    for (const auto& node : world.engine.all()) count += node.objects.size();
    return count;
  };
  const std::size_t held = objects();

  world.disk = std::move(old_disk);
  world.remove_index();
  world.open();
  world.runtime.advance(std::chrono::seconds(10));
  CHECK(world.drive->status().state == DriveState::fenced);
  CHECK(world.tree().at("file") == before);
  const auto refused = world.drive->make_node(root_inode, "new", 0100644, 0, world.caller);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::fenced);
  REQUIRE_FALSE(world.sync_protected());
  world.runtime.advance(std::chrono::minutes(5));
  CHECK(objects() == held);
  world.close();

  world.disk = std::move(new_disk);
  world.remove_index();
  world.open();
  CHECK(world.tree().at("file") == after);
}

TEST_CASE("what a fenced computer had not shipped stays on it, is counted, and is still there after a restart without nodes") {
  World world;
  const Bytes before = world.random.bytes(50'000);
  world.put("file", before);
  world.sync_full();
  world.close();
  auto old_disk = std::move(world.disk);
  world.disk = std::make_unique<MemoryDisk>();
  world.lose_computer();
  REQUIRE(world.recover());
  world.open();
  world.put("file", world.random.bytes(60'000));
  world.sync_full();
  world.close();

  // The old computer wakes without a network, and somebody goes on working there.
  world.disk = std::move(old_disk);
  world.remove_index();
  world.absent({0, 1, 2, 3, 4, 5});
  world.open();
  const Bytes unshipped = world.random.bytes(30'000);
  world.put("note", unshipped);
  world.put("file", world.random.bytes(10));
  CHECK(world.drive->status().state == DriveState::offline);
  CHECK_FALSE(world.drive->status().untold);
  // The first node that comes back lies about what it holds: it must not hide what others tell.
  for (auto& [name, bytes] : world.engine.all()[0].objects)
    if (name.size() == 18 || name.size() == 34) bytes[bytes.size() / 2] ^= 1;  // claims and heads
  world.absent({1, 2, 3, 4, 5});
  world.runtime.advance(std::chrono::seconds(10));
  world.absent({});
  world.runtime.advance(std::chrono::seconds(20));
  const DriveStatus status = world.drive->status();
  CHECK(status.state == DriveState::fenced);
  REQUIRE(status.untold);
  CHECK(status.untold->complete);
  CHECK(status.untold->files == 2);
  CHECK(status.untold->bytes == 30'010);
  CHECK(status.untold->changes >= 3);
  CHECK(world.tree().at("note") == unshipped);
  world.close();

  world.absent({0, 1, 2, 3, 4, 5});
  CHECK(Drive::peek(*world.disk, world.directory())->state == DriveState::fenced);
  world.open();
  CHECK(world.drive->status().state == DriveState::fenced);
  CHECK(world.drive->status().untold == status.untold);
  CHECK(world.tree().at("note") == unshipped);
  const auto refused = world.drive->make_node(root_inode, "new", 0100644, 0, world.caller);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::fenced);
}

TEST_CASE("a computer that slept and has nothing to say learns all the same that it was replaced") {
  World world;
  world.put("file", world.random.bytes(1'000));
  world.sync_full();
  // The nodes were never away from this computer's sight; the claim came while it slept.
  const MetaSealer sealer = *MetaSealer::make(world.keyring);
  const MetaName claim = MetaName::claim(3);  // the second owner's claim stands elsewhere
  const Bytes object = sealer.seal(claim, encode_claim({world.random.id<DeviceId>(), std::nullopt}), world.random);
  for (auto& node : world.engine.all()) node.objects[sealer.object_name(claim, node.spec.id)] = object;
  world.runtime.advance(std::chrono::minutes(6));
  CHECK(world.drive->status().state == DriveState::fenced);
  REQUIRE(world.drive->status().untold);
  CHECK(world.drive->status().untold->files == 0);
}

TEST_CASE("of two computers that recover at one moment, one is told") {
  World world;
  world.put("file", world.random.bytes(1'000));
  world.sync_full();
  world.lose_computer();
  REQUIRE(world.recover());
  // The second one looked before the first one's claim.
  auto survey = world.survey();
  REQUIRE(survey);
  world.lose_computer();
  REQUIRE(rebuild_state(world.seams(), world.directory(), world.engine, *survey->head, world.keyring, world.specs(), std::chrono::seconds(5), {}));
  const auto second = claim_epoch(world.seams(), world.directory(), world.engine, world.specs(), world.keyring, 2, HistoryPoint::of(*survey->head), std::chrono::seconds(5));
  REQUIRE_FALSE(second);
  CHECK(second.error().code == Code::fenced);
}

TEST_CASE("stale, lying and silent nodes are told apart, and the newest head counts") {
  World world;
  world.put("file", world.random.bytes(1'000));
  world.sync_full();
  const auto old_objects = world.engine.all()[5].objects;
  world.put("file", world.random.bytes(2'000));
  world.sync_full();
  const Tree made = world.tree();
  world.lose_computer();
  auto& nodes = world.engine.all();
  nodes[5].objects = old_objects;  // its disk was restored from a backup
  nodes[1].garbage = true;
  nodes[2].absent = true;
  const auto survey = world.survey();
  REQUIRE(survey);
  CHECK(survey->answers[5].standing == HeadAnswer::Standing::stale);
  CHECK(survey->answers[1].standing == HeadAnswer::Standing::wrong);
  CHECK(survey->answers[2].standing == HeadAnswer::Standing::silent);
  CHECK(survey->count(HeadAnswer::Standing::newest) == 3);
  REQUIRE(world.recover());
  world.open();
  CHECK(world.tree() == made);
}

TEST_CASE("a later epoch counts before a higher generation") {
  World world;
  for (int i = 0; i < 3; ++i) {
    world.put("file", world.random.bytes(1'000));
    world.sync_full();
  }
  world.lose_computer();
  const auto before = world.survey();
  REQUIRE(before);
  REQUIRE(before->head->generation > 1);
  // Somebody took the drive over from an older head; the old computer was ahead of it.
  Head taken_over = *before->head;
  taken_over.epoch = before->head->epoch + 1;
  taken_over.generation = 1;
  for (Stretch& stretch : taken_over.stretches)
    if (stretch.where == before->head->name()) stretch.where = taken_over.name();
  const MetaSealer sealer = *MetaSealer::make(world.keyring);
  const Bytes object = sealer.seal(taken_over.name(), *encode_head(taken_over, world.keyring), world.random);
  const NodeId node = world.engine.all()[2].spec.id;
  world.engine.all()[2].objects[sealer.object_name(taken_over.name(), node)] = object;
  const auto after = world.survey();
  REQUIRE(after);
  CHECK(after->head->epoch == taken_over.epoch);
  CHECK(after->head->generation == 1);
}

TEST_CASE("a head counts when most nodes have it, and not before") {
  World world;
  world.put("file", world.random.bytes(1'000));
  REQUIRE(world.sync_protected());
  auto& nodes = world.engine.all();
  for (std::size_t i = 0; i < 5; ++i) nodes[i].refuses = true;
  world.put("file", world.random.bytes(2'000));
  const auto synced = [&] { return world.drive->sync(SyncLevel::protected_, world.runtime.clock().now() + std::chrono::seconds(90), {}, {}).has_value(); };
  CHECK_FALSE(synced());
  for (const std::size_t one : {0u, 1u}) {
    nodes[one].refuses = false;
    CHECK_FALSE(synced());  // two, and then three, of six
  }
  nodes[2].refuses = false;
  CHECK(synced());
}

TEST_CASE("what is overwritten while a head is made that names it goes to nodes as it was") {
  DriveOptions options = World::quick();
  options.flush_interval = std::chrono::seconds(100);  // nothing is told between what is done here
  World world(1, {3, 6}, options);
  constexpr std::size_t block = 128 * 1024;  // sealed at once
  world.put("file", world.random.bytes(block));
  world.put("other", world.random.bytes(10));
  world.sync_full();
  world.runtime.advance(std::chrono::seconds(10));
  const std::uint64_t generation = world.drive->status().generation;
  const Bytes named = world.random.bytes(block);
  world.put("file", named);
  // A writer, to whom the shipper yields while the head is begun.
  for (int i = 0; i < 15; ++i) {
    world.put("other", world.random.bytes(10));
    world.runtime.advance(std::chrono::milliseconds(100));
  }
  world.put("file", world.random.bytes(block));
  world.runtime.advance(std::chrono::milliseconds(800));
  CHECK(world.drive->status().generation == generation + 1);
  world.lose_computer();
  REQUIRE(world.recover());
  world.open();
  CHECK(world.tree().at("file") == named);
}

TEST_CASE("what the newest head that counts needs stays on nodes, whatever became of it") {
  World world;  // without any grace
  const Bytes content = world.random.bytes(900'000);
  world.put("file", content);
  world.sync_full();
  // From now on most nodes take no head.
  for (std::size_t i = 0; i < 4; ++i) world.engine.all()[i].refuses = true;
  const InodeNumber inode = world.drive->lookup(root_inode, "file")->inode;
  REQUIRE(world.drive->unlink(root_inode, "file"));
  world.drive->forget(inode, 1'000'000);
  REQUIRE(world.drive->commit());
  for (int minute = 0; minute < 10; ++minute) world.runtime.advance(std::chrono::minutes(1));
  world.lose_computer();
  for (auto& node : world.engine.all()) node.refuses = false;
  world.absent({4, 5});
  REQUIRE(world.recover());
  world.open();
  CHECK(world.tree().at("file") == content);
}

TEST_CASE("any object of metadata that is changed, cut or swapped is found out, and another node's copy serves") {
  World world;
  for (int i = 0; i < 5; ++i) {
    world.put("f" + std::to_string(i), world.random.bytes(3'000));
    REQUIRE(world.sync_protected());
  }
  world.sync_full();
  const Tree made = world.tree();
  world.lose_computer();
  const MetaSealer sealer = *MetaSealer::make(world.keyring);
  const auto whole = world.engine.all()[0].objects;
  const NodeId id = world.engine.all()[0].spec.id;
  std::vector<std::string> names;
  for (const auto& [name, bytes] : whole)
    if (name.starts_with(sealer.head_prefix(id)) || name.starts_with(sealer.part_prefix(id))) names.push_back(name);
  REQUIRE(names.size() >= 3);
  // Only the first node and one honest one are there; the first does what a node could do with each object.
  for (const std::string& victim : names) {
    for (int how = 0; how < 4; ++how) {
      CAPTURE(victim, how);
      auto& objects = world.engine.all()[0].objects;
      objects = whole;
      if (how == 0) objects[victim][objects[victim].size() / 2] ^= 4;
      if (how == 1) objects[victim].resize(objects[victim].size() - 16);
      if (how == 2) objects[victim] = objects[names.front() == victim ? names.back() : names.front()];
      if (how == 3) objects.erase(victim);
      for (std::size_t i = 0; i < 6; ++i) world.engine.all()[i].absent = i >= 4;
      REQUIRE(world.recover());
      world.open(true);
      CHECK(world.tree() == made);
      world.lose_computer();
      for (std::size_t i = 0; i < 6; ++i)  // claims of earlier rounds do not matter here
        std::erase_if(world.engine.all()[i].objects, [&](const auto& item) { return item.first.size() == 18; });
    }
  }
  world.absent({1, 2, 3, 4, 5});
  world.engine.all()[0].objects = whole;
  world.engine.all()[0].objects[names.back()][60] ^= 1;
  const auto alone = world.recover();
  if (!alone) CHECK((alone.error().code == Code::too_few_nodes || alone.error().code == Code::corrupt));
}
