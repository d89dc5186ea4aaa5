// How soon a node is found that kept nearly everything.
#include "tests/support/effort.h"
#include "tests/unit/cache/care/cared.h"

using namespace atl;

TEST_CASE("A node that lost less than a hundredth of what it acknowledged is found within the 460 samples of a day", "[care]") {
  // One leaf of some 128: found with a probability of 97 % (of a hundredth it would be 99).
  constexpr int trials = effort(8, 2);
  int found = 0;
  std::uint64_t samples = 0;
  for (std::uint64_t seed = 1; seed <= trials; ++seed) {
    Cared f({2, 4}, 0, seed);
    std::map<std::string, Bytes>::value_type* largest = nullptr;
    std::uint64_t leaves = 0;
    for (auto& object : f.engine.all()[1].objects) {
      if (!Cared::is_shard(object.second)) continue;
      leaves += (object.second.size() - shard_header_bytes) / (leaf_bytes + leaf_mac_bytes);
      if (largest == nullptr || object.second.size() > largest->second.size()) largest = &object;
    }
    REQUIRE(largest != nullptr);
    REQUIRE(leaves >= 100);
    REQUIRE(leaves <= 130);
    const std::size_t of_largest = (largest->second.size() - shard_header_bytes) / (leaf_bytes + leaf_mac_bytes);
    const std::size_t leaf = f.random.below(of_largest);
    largest->second[shard_header_bytes + leaf * (leaf_bytes + leaf_mac_bytes) + 77] ^= 1;
    const auto asked = [&] { return f.drive->care().status().nodes[1].audits; };
    REQUIRE(f.drive->care().status().nodes[1].node == f.engine.all()[1].spec.id);
    while (f.counter("audits_wrong") == 0 && asked() < audits_per_day) f.step(std::chrono::minutes(10));
    samples += asked();
    if (f.counter("audits_wrong") == 0) continue;
    ++found;
    CHECK(f.drive->care().status().nodes[1].trust == Trust::doubted);
    CHECK(f.drive->care().status().nodes[0].trust == Trust::good);
    CHECK(f.drive->care().status().nodes[2].wrong == 0);
    // And what was damaged is whole again.
    f.step(std::chrono::minutes(10));
    CHECK(f.counter("shards_rebuilt") == 1);
    CHECK(f.drive->care().status().nodes[1].bad_shards == 0);
  }
  CAPTURE(found, samples);
  CHECK(found >= trials - 1);
  // A sample finds it one time in 128: so many in the mean, and not only at the end.
  CHECK(samples < trials * 230);
}
