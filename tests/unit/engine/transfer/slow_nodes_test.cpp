// One of twelve nodes is silent and one takes fifty times as long: what a person waits for takes hardly longer.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/support/virtual_engine.h"

using namespace atl;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t k = 4;
constexpr std::size_t n = 8;
constexpr std::size_t r = 7;
constexpr int segments = 64;
constexpr int reads = 600;

struct Measured {
  Duration protect{};   // until r shards of each segment are durable
  Duration read_p99{};  // of cold reads
};

struct Twelve : VirtualEngine {
  explicit Twelve(std::uint64_t seed) : VirtualEngine(12, {}, std::uint64_t{1} << 40, seed) {
    for (std::size_t i = 0; i < 12; ++i) {
      node(i).faults.delay = 12ms + i * 1ms;
      node(i).faults.put_delay = 400ms + i * 20ms;
    }
    loop.run_for(5min);  // the engine gets to know them
  }

  void spoil() {
    node(3).faults.hangs = true;
    node(8).faults.delay *= 50;
    node(8).faults.put_delay *= 50;
  }

  /// Uploads all segments, two of them at a time until each is protected.
  Duration protect(const std::string& name) {
    const MonotonicTime start = loop.now();
    stored.assign(segments, {});
    int next = 0;
    int open = 0;
    int safe = 0;
    while (safe < segments) {
      while (open < 2 && next < segments) {
        const int segment = next++;
        ++open;
        UploadRequest request = upload_request(n);
        request.need = k;
        request.object_name = [=](ShardIndex shard, NodeId) { return name + std::to_string(segment) + "-" + std::to_string(shard.value); };
        request.on_stored = [&, segment](ShardHome home) {
          stored[segment].push_back(home);
          if (stored[segment].size() != r) return;
          --open;
          ++safe;
        };
        engine->upload(std::move(request));
      }
      const int before = safe;
      REQUIRE(loop.run_until([&] { return safe != before; }, 1h));
    }
    const Duration took = loop.now() - start;
    loop.run_for(2min);  // and full, where that is possible
    return took;
  }

  Duration read_p99(const std::string& name) {
    std::vector<Duration> took;
    for (int i = 0; i < reads; ++i) {
      const int segment = static_cast<int>(random.below(segments));
      const std::size_t wanted = random.below(k);
      homes = stored[segment];
      FetchRequest request = fetch_request(wanted, k);
      const auto rename = [&](FetchSource& source) { source.object_name = name + std::to_string(segment) + "-" + std::to_string(source.home.shard.value); };
      if (request.wanted) rename(*request.wanted);
      for (FetchSource& source : request.others) rename(source);
      const MonotonicTime start = loop.now();
      REQUIRE(fetch(std::move(request)));
      took.push_back(loop.now() - start);
      loop.run_for(20ms);
    }
    std::sort(took.begin(), took.end());
    return took[took.size() * 99 / 100];
  }

  std::vector<std::vector<ShardHome>> stored;
};

double ratio(Duration a, Duration b) { return static_cast<double>(a.count()) / static_cast<double>(b.count()); }

}  // namespace

TEST_CASE("A silent node and a very slow one among twelve cost less than half as much time again") {
  const std::uint64_t seed = GENERATE(range<std::uint64_t>(1, 6));
  CAPTURE(seed);
  Twelve healthy(seed);
  const Duration protect = healthy.protect("a");
  const Duration read = healthy.read_p99("a");

  Twelve spoiled(seed);
  spoiled.spoil();
  CHECK(ratio(spoiled.protect("a"), protect) <= 1.5);
  CHECK(ratio(spoiled.read_p99("a"), read) <= 1.5);

  // And what was stored while all was well is read as quickly when they fail.
  Twelve later(seed);
  (void)later.protect("a");
  later.spoil();
  CHECK(ratio(later.read_p99("a"), read) <= 1.5);
}
