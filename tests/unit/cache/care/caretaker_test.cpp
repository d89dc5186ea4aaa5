#include "tests/support/effort.h"
#include "tests/unit/cache/care/cared.h"

using namespace atl;

namespace {

using std::chrono::hours;
using std::chrono::minutes;

/// Flips a bit in each leaf that a node holds; metadata, which begins otherwise, stays.
std::size_t spoil(FakeEngine::FakeNode& node) {
  std::size_t count = 0;
  for (auto& [name, body] : node.objects) {
    if (!Cared::is_shard(body)) continue;
    for (std::size_t at = shard_header_bytes; at < body.size(); at += leaf_bytes + leaf_mac_bytes) body[at] ^= 1;
    ++count;
  }
  return count;
}

}  // namespace

TEST_CASE("Audits find a node whose shards rotted, and each is replaced where it is", "[care]") {
  Cared f({2, 4}, 0);
  REQUIRE(spoil(f.engine.all()[1]) > 0);
  f.step(hours(2));
  CHECK(f.counter("audits_wrong") > 0);
  CHECK(f.counter("shards_rebuilt") > 0);
  const CareStatus status = f.drive->care().status();
  CHECK(status.nodes[1].trust == Trust::doubted);
  CHECK(status.nodes[1].bad_shards == 0);
  CHECK(status.nodes[0].trust == Trust::good);
  CHECK(status.worst_margin == 2);
  // What is there now verifies: the other two may go.
  f.engine.all()[0].absent = f.engine.all()[2].absent = true;
  CHECK(f.whole());
}

TEST_CASE("What does not verify is never signed anew", "[care]") {
  DriveOptions with = prompt_options();
  with.repair_grace = minutes(0);
  with.repair_patience = std::chrono::seconds(0);
  Cared f({2, 4}, 1, 1, with);
  const std::size_t gone = f.a_home();
  for (std::size_t i = 0; i < 5; ++i)
    if (i != gone && f.shards_on(i) > 0) {
      REQUIRE(spoil(f.engine.all()[i]) > 0);  // one of those that a rebuilding asks first
      break;
    }
  f.engine.all()[gone].absent = true;
  f.engine.changed();
  f.step(minutes(30));
  CHECK(f.drive->care().status().worst_margin == 2);
  const auto report = f.drive->care().check({100, false, false}, {}, {});
  REQUIRE(report);
  CHECK(report->found == 0);
  for (std::size_t other = 0; other < 5; ++other) {
    CAPTURE(other);
    f.engine.all()[other].absent = true;
    CHECK(f.whole());
    f.engine.all()[other].absent = other == gone;
  }
}

TEST_CASE("A shard that a node lost although it acknowledged it is found and stored again", "[care]") {
  Cared f({2, 4}, 0);
  auto& objects = f.engine.all()[3].objects;
  const std::size_t before = objects.size();
  std::erase_if(objects, [](const auto& object) { return Cared::is_shard(object.second); });
  REQUIRE(objects.size() < before);
  f.step(hours(1));
  CHECK(f.counter("audits_wrong") > 0);
  CHECK(objects.size() >= before);
  CHECK(f.drive->care().status().worst_margin == 2);
}

TEST_CASE("Audits ask each node some 460 times a day", "[care]") {
  Cared f({1, 2}, 0);
  const std::uint64_t before = f.counter("audits");
  constexpr int hours_watched = effort(24, 6);
  for (int hour = 0; hour < hours_watched; ++hour) f.step(hours(1));
  CHECK(f.counter("audits") - before > 2 * 440 * hours_watched / 24);
  CHECK(f.counter("audits") - before < 2 * 480 * hours_watched / 24);
  CHECK(f.counter("audits_wrong") == 0);
}

TEST_CASE("A node that is away for a day costs nothing, and its return cancels what was planned", "[care]") {
  Cared f({2, 5}, 1);
  const std::size_t lost = f.a_home();
  f.engine.all()[lost].absent = true;
  f.engine.changed();
  f.step(hours(effort(24, 4)));
  CHECK(f.counter("care_read_bytes") == 0);
  CHECK(f.drive->care().status().worst_margin == 2);
  f.engine.all()[lost].absent = false;
  f.step(minutes(5));
  CHECK(f.drive->care().status().worst_margin == 3);
  CHECK(f.counter("shards_rebuilt") == 0);
}

TEST_CASE("Ten rounds of losing n - k nodes, with repair between: nothing is lost, and no more is sent than needed", "[care]") {
  DriveOptions with = prompt_options();
  with.repair_grace = hours(1);
  Cared f({3, 6}, 1, 1, with);
  std::uint64_t before = f.counter("shards_rebuilt");
  std::uint64_t homes_lost = 0;
  for (int round = 0; round < effort(10, 2); ++round) {
    for (int loss = 0; loss < 3; ++loss) {
      CAPTURE(round, loss);
      const std::size_t lost = (f.a_home() + static_cast<std::size_t>(loss)) % 7;
      homes_lost += f.shards_on(lost);
      f.engine.all()[lost].absent = true;
      f.engine.all()[lost].objects.clear();
      f.engine.changed();
      f.step(minutes(75));
      REQUIRE(f.shards_on(lost) == 0);
      REQUIRE(f.drive->care().status().worst_margin == 3);
      // Another takes its place: a disk without anything on it.
      f.engine.all()[lost].absent = false;
      f.engine.changed();
      f.step(minutes(10));
    }
  }
  CHECK(f.whole());
  CHECK(f.counter("shards_rebuilt") - before == homes_lost);
  const std::uint64_t object = [&] {
    std::uint64_t most = 0;
    for (const auto& node : f.engine.all())
      for (const auto& [name, body] : node.objects) most = std::max<std::uint64_t>(most, Cared::is_shard(body) ? body.size() : 0);
    return most;
  }();
  const std::uint64_t least = homes_lost * (3 + 1) * object;
  CHECK(f.counter("care_read_bytes") + f.counter("care_written_bytes") <= least * 13 / 10);
}

TEST_CASE("A node that works is emptied by copying what it holds, once", "[care]") {
  Cared f({3, 6}, 1);
  const std::size_t leaver = f.a_home();
  const NodeId id = f.engine.all()[leaver].spec.id;
  const std::uint64_t shards = f.shards_on(leaver);
  REQUIRE(f.drive->care().drain(id, true, true, {}, {}));
  CHECK(f.shards_on(leaver) == 0);
  CHECK(f.counter("shards_moved") == shards);
  CHECK(f.counter("shards_rebuilt") == 0);
  f.step(minutes(5));
  REQUIRE(f.drive->collect_garbage(true, {}));
  const auto [objects, homes] = f.objects_and_homes();
  CHECK(objects == homes);
  // It gets nothing new, also after a remount.
  f.close();
  f.open();
  f.step(minutes(1));
  f.write(f.file, 0, f.content);
  f.sync_full();
  CHECK(f.shards_on(leaver) == 0);
  CHECK(f.whole());
}

TEST_CASE("A node that has nobody to take its shards cannot be emptied, and that is said", "[care]") {
  Cared f({3, 6}, 0);
  const auto drained = f.drive->care().drain(f.engine.all()[2].spec.id, true, true, {}, {});
  REQUIRE_FALSE(drained);
  CHECK(drained.error().code == Code::too_few_nodes);
  CHECK(f.shards_on(2) > 0);
  NodeId stranger;
  CHECK(f.drive->care().drain(stranger, true, false, {}, {}).error().code == Code::not_found);
}

TEST_CASE("A node that refuses a shard does not count as its home", "[care]") {
  Cared f({3, 6}, 1);
  std::size_t spare = 0;
  while (f.shards_on(spare) > 0) ++spare;
  const std::size_t leaver = f.a_home();
  const std::size_t held = f.shards_on(leaver);
  f.engine.all()[spare].refuses = true;
  REQUIRE(f.drive->care().drain(f.engine.all()[leaver].spec.id, true, false, {}, {}));
  f.step(minutes(20));
  CHECK(f.shards_on(spare) == 0);
  CHECK(f.shards_on(leaver) == held);
  CHECK(f.counter("shards_moved") == 0);
  f.engine.all()[spare].refuses = false;
  f.step(minutes(20));
  CHECK(f.shards_on(spare) == held);
  CHECK(f.shards_on(leaver) == 0);
  f.engine.all()[leaver].absent = true;
  CHECK(f.whole());
}

TEST_CASE("The old copy of a shard stays until a head that counts knows the new one", "[care]") {
  Cared f({3, 6}, 1);
  std::size_t spare = 0;
  while (f.shards_on(spare) > 0) ++spare;
  const std::size_t leaver = f.a_home();
  const auto copies = [&] {
    return std::ranges::count_if(f.engine.all()[leaver].objects, [](const auto& object) { return Cared::is_shard(object.second); });
  };
  const auto held = copies();
  REQUIRE(held > 0);
  // Four of seven nodes take no head.
  std::size_t refusing = 0;
  for (std::size_t i = 0; i < 7 && refusing < 4; ++i)
    if (i != spare && i != leaver) {
      f.engine.all()[i].refuses = true;
      ++refusing;
    }
  REQUIRE(f.drive->care().drain(f.engine.all()[leaver].spec.id, true, true, {}, {}));
  REQUIRE(f.shards_on(leaver) == 0);
  f.step(minutes(30));
  CHECK(copies() == held);
  for (auto& node : f.engine.all()) node.refuses = false;
  f.step(minutes(10));
  CHECK(copies() == 0);
}

TEST_CASE("Power cuts anywhere in a repair or a move lose nothing and leak nothing", "[care][crash]") {
  const auto seed = GENERATE(range<std::uint64_t>(1, effort(25, 9)));
  const bool drains = seed % 2 == 0;
  CAPTURE(seed, drains);
  DriveOptions with = prompt_options();
  with.repair_grace = minutes(10);
  Cared f({3, 6}, 2, seed, with);
  const std::size_t node = f.a_home();
  if (!drains) {
    f.engine.all()[node].absent = true;
    f.engine.all()[node].objects.clear();
    f.engine.changed();
    f.step(minutes(9));
  }
  f.disk->power_off_at(seed * 2 % 29 + 2);
  if (drains) {
    (void)f.drive->care().drain(f.engine.all()[node].spec.id, true, true, {}, {});
  }
  f.step(minutes(5));
  f.crash(seed);
  f.open();
  REQUIRE(f.whole());
  if (drains) REQUIRE(f.drive->care().drain(f.engine.all()[node].spec.id, true, true, {}, {}));
  f.step(minutes(20));
  CHECK(f.shards_on(node) == 0);
  CHECK(f.drive->care().status().worst_margin == 3);
  f.engine.all()[node].absent = false;
  f.engine.changed();
  f.step(minutes(5));
  REQUIRE(f.drive->collect_garbage(true, {}));
  const auto [objects, homes] = f.objects_and_homes();
  CHECK(objects == homes);
  CHECK(f.whole());
}
