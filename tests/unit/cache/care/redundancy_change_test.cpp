// Another redundancy than the drive was made with.
#include "tests/unit/cache/care/cared.h"

using namespace atl;
using std::chrono::minutes;

namespace {

/// Whether everything that lives has this redundancy.
bool all_are(Cared& f, Redundancy redundancy) {
  const auto margins = f.drive->care().status().margins;
  return !margins.empty() && std::all_of(margins.begin(), margins.end(), [&](const auto& entry) { return entry.first.first == redundancy; });
}

/// Reads the file with as many nodes gone as `redundancy` lets go, whichever these are.
void check_any_may_go(Cared& f, unsigned count) {
  auto& nodes = f.engine.all();
  for (std::size_t first = 0; first < nodes.size(); ++first) {
    for (std::size_t i = 0; i < count; ++i) nodes[(first + i) % nodes.size()].absent = true;
    CAPTURE(first);
    CHECK(f.whole());
    for (auto& node : nodes) node.absent = false;
  }
}

}  // namespace

TEST_CASE("A drive gets another redundancy: all is encoded anew in the background, and what lay before is removed", "[redundancy]") {
  const auto [before, after, r] = GENERATE(std::tuple(Redundancy{2, 4}, Redundancy{3, 6}, 5), std::tuple(Redundancy{3, 6}, Redundancy{2, 4}, 3),
                                           std::tuple(Redundancy{1, 3}, Redundancy{4, 6}, 4));
  CAPTURE(int{before.k}, int{before.n}, int{after.k}, int{after.n});
  Cared f(before, before.n < 6 ? 6u - before.n : 0u);
  REQUIRE(f.drive->care().set_redundancy(after, static_cast<std::uint8_t>(r)));
  CHECK(f.drive->status().redundancy == after);
  CHECK(f.drive->status().protect_min == r);
  CHECK(f.drive->care().status().worst_margin == before.n - before.k);  // what lay well does so still
  f.step(minutes(3));
  CHECK(all_are(f, after));
  CHECK(f.drive->status().protection == Protection::full);
  check_any_may_go(f, after.n - after.k);
  REQUIRE(f.drive->collect_garbage(true, {}));
  const auto [objects, homes] = f.objects_and_homes();
  CHECK(objects == homes);
  f.close();
  f.open();
  CHECK(f.drive->status().redundancy == after);
  CHECK(f.whole());
}

TEST_CASE("While a drive is encoded anew no node's loss costs more than before", "[redundancy]") {
  DriveOptions with = prompt_options();
  with.care_bandwidth = 100'000;  // one segment at a time
  Cared f({2, 4}, 2, 1, with);
  for (int i = 0; i < 5; ++i) {
    f.write(f.file, 3'000'000ull * static_cast<unsigned>(i), f.random.bytes(3'000'000));
    f.sync_full();
  }
  f.content = f.read(f.file, 0, 15'000'000);
  REQUIRE(f.drive->care().set_redundancy({3, 6}, 5));
  int mixed = 0;
  for (int i = 0; i < 60 && !all_are(f, {3, 6}); ++i) {
    f.step(std::chrono::seconds(5));
    mixed += f.drive->care().status().margins.size() > 1 ? 1 : 0;
    for (const auto& [key, count] : f.drive->care().status().margins) CHECK(key.second >= 2);
    check_any_may_go(f, 2);
  }
  CHECK(mixed > 2);
  CHECK(all_are(f, {3, 6}));
  check_any_may_go(f, 3);
}

TEST_CASE("A segment that can never be full as it was is encoded for the nodes that there are", "[redundancy]") {
  Cared f({3, 6}, 0);
  f.engine.all()[5].absent = true;
  f.engine.changed();
  const auto more = f.make_file(root_inode, "more").inode;
  const Bytes bytes = f.random.bytes(500'000);
  f.write(more, 0, bytes);
  REQUIRE(f.drive->sync(SyncLevel::protected_, f.runtime.clock().now() + minutes(5), {}, {}));
  REQUIRE(f.drive->care().drain(f.engine.all()[5].spec.id, true, false, {}, {}));
  REQUIRE(f.drive->care().set_redundancy({2, 5}, 4));
  f.step(minutes(5));
  CHECK(all_are(f, {2, 5}));
  CHECK(f.shards_on(5) == 0);
  CHECK(f.drive->status().protection == Protection::full);
  CHECK(f.read(more, 0, bytes.size()) == bytes);
  CHECK(f.drive->care().remove_node(f.engine.all()[5].spec.id, {}, {}));
}

TEST_CASE("A redundancy that cannot be kept is refused, and nothing changes", "[redundancy]") {
  Cared f({2, 4}, 1);
  CHECK(f.drive->care().set_redundancy({3, 6}, 5).error().code == Code::too_few_nodes);
  CHECK(f.drive->care().set_redundancy({0, 4}, 2).error().code == Code::invalid);
  CHECK(f.drive->care().set_redundancy({3, 2}, 2).error().code == Code::invalid);
  CHECK(f.drive->care().set_redundancy({2, 4}, 1).error().code == Code::invalid);
  REQUIRE(f.drive->care().drain(f.engine.all()[0].spec.id, true, true, {}, {}));
  CHECK(f.drive->care().set_redundancy({2, 5}, 4).error().code == Code::too_few_nodes);
  CHECK(f.drive->status().redundancy == Redundancy{2, 4});
}

TEST_CASE("A redundancy that was set is there after a power cut", "[redundancy][crash]") {
  Cared f({2, 4}, 2);
  REQUIRE(f.drive->care().set_redundancy({3, 6}, 5));
  f.crash(1);
  f.open();
  CHECK(f.drive->status().redundancy == Redundancy{3, 6});
  CHECK(f.whole());
}

TEST_CASE("Power cuts anywhere in encoding anew lose nothing and leak nothing", "[redundancy][crash]") {
  const auto seed = GENERATE(range<std::uint64_t>(1, 25));
  CAPTURE(seed);
  Cared f({2, 4}, 2, seed);
  f.disk->power_off_at(seed * 5 % 61 + 1);
  (void)f.drive->care().set_redundancy({3, 6}, 5);
  f.step(minutes(2));
  f.crash(seed, seed % 3 == 0);
  f.open();
  REQUIRE(f.whole());
  const auto set = f.drive->care().set_redundancy({3, 6}, 5);
  INFO((set ? std::string() : set.error().what));
  REQUIRE(set);
  f.step(minutes(5));
  CHECK(all_are(f, {3, 6}));
  REQUIRE(f.drive->collect_garbage(true, {}));
  const auto [objects, homes] = f.objects_and_homes();
  CHECK(objects == homes);
  check_any_may_go(f, 3);
}
