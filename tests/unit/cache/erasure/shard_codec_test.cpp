// Laws of the shard codec: any k of n shards give every leaf back, and nothing that was changed verifies.
#include "cache/erasure/shard_codec.h"

#include <rapidcheck.h>
#include <sodium.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <numeric>
#include <set>

namespace atl {
namespace {

constexpr std::size_t step = leaf_bytes + leaf_mac_bytes;

Bytes some_bytes(std::size_t count) {
  Bytes bytes(count);
  SystemRandom().fill(bytes);
  return bytes;
}

Bytes join(const std::vector<ByteView>& views) {
  Bytes out;
  for (const ByteView view : views) out.insert(out.end(), view.begin(), view.end());
  return out;
}

LeafMacs some_macs() {
  SystemRandom random;
  return {SecretKey::random(random), random.id<VolumeId>(), random.id<AttemptId>()};
}

ShardIndex shard_at(std::size_t index) {
  return ShardIndex(static_cast<std::uint8_t>(index));
}

/// A segment with all its objects, and their leaves without MACs.
struct Sample {
  Sample(Redundancy redundancy, std::uint64_t bytes)
      : geometry(ShardGeometry::of(redundancy, bytes)), segment(some_bytes(bytes)), macs(some_macs()) {
    const EncodedSegment encoded(geometry, cut_shards(geometry, segment, nullptr), macs);
    for (std::size_t i = 0; i < redundancy.n; ++i) {
      objects.push_back(join(encoded.object(shard_at(i)).pieces));
      leaves.push_back(strip_macs(ByteView(objects.back()).subspan(shard_header_bytes)));
    }
  }

  /// True if the shards in `kept` rebuild the payload of every shard of the segment.
  bool rebuilds_all(const std::vector<std::size_t>& kept) const {
    std::vector<std::pair<ShardIndex, ByteView>> available;
    for (const std::size_t i : kept) available.emplace_back(shard_at(i), leaves[i]);
    for (std::size_t wanted = 0; wanted < leaves.size(); ++wanted) {
      Bytes rebuilt(leaves[wanted].size());
      if (!rebuild_leaves(geometry.redundancy, shard_at(wanted), available, rebuilt) || rebuilt != leaves[wanted]) return false;
    }
    return true;
  }

  ShardGeometry geometry;
  Bytes segment;
  LeafMacs macs;
  std::vector<Bytes> objects;
  std::vector<Bytes> leaves;
};

}  // namespace

TEST_CASE("the data shards hold the segment as it is, then zeros") {
  CHECK(rc::check([] {
    const auto k = *rc::gen::inRange<std::uint8_t>(1, 12);
    const auto n = static_cast<std::uint8_t>(k + *rc::gen::inRange(0, 5));
    const Sample sample({k, n}, *rc::gen::inRange<std::uint64_t>(0, 40 * leaf_bytes));
    Bytes all;
    for (std::size_t i = 0; i < k; ++i) all.insert(all.end(), sample.leaves[i].begin(), sample.leaves[i].end());
    RC_ASSERT(all.size() >= sample.segment.size());
    RC_ASSERT(std::equal(sample.segment.begin(), sample.segment.end(), all.begin()));
    RC_ASSERT(std::all_of(all.begin() + sample.segment.size(), all.end(), [](std::uint8_t b) { return b == 0; }));
    for (const Bytes& object : sample.objects) RC_ASSERT(object.size() == sample.geometry.object_bytes());
  }));
}

TEST_CASE("every object begins with a header that says nothing but its format") {
  const Sample sample({3, 6}, 100'000);
  for (const Bytes& object : sample.objects) {
    CHECK(check_shard_header(object).has_value());
    CHECK(std::equal(object.begin(), object.begin() + shard_header_bytes, sample.objects.front().begin()));
  }
  Bytes newer = sample.objects.front();
  newer[8] = 2;
  CHECK(check_shard_header(newer).error().code == Code::newer_format);
  newer[0] = 'x';
  CHECK(check_shard_header(newer).error().code == Code::corrupt);
  CHECK(check_shard_header(ByteView(newer).first(15)).error().code == Code::corrupt);
}

TEST_CASE("a shard that is stored is let go without the others") {
  const ShardGeometry geometry = ShardGeometry::of({3, 6}, 3'000'000);
  const Bytes segment = some_bytes(3'000'000);
  std::vector<ShardContent> data = cut_shards(geometry, segment, nullptr);
  std::vector<std::weak_ptr<const void>> parts;
  for (ShardContent& shard : data) {
    const auto copy = std::make_shared<Bytes>(shard.bytes.begin(), shard.bytes.end());
    parts.emplace_back(copy);
    shard = {*copy, copy};
  }
  auto encoded = std::make_unique<EncodedSegment>(geometry, std::move(data), some_macs());
  data.clear();
  std::vector<Bytes> objects;
  for (std::size_t i = 0; i < 6; ++i) objects.push_back(join(encoded->object(shard_at(i)).pieces));

  ObjectBody sent = encoded->object(shard_at(1));
  ObjectBody parity = encoded->object(shard_at(4));
  for (const std::size_t i : {0, 1, 3, 4}) {
    encoded->release(shard_at(i));
    encoded->release(shard_at(i));
    CHECK(encoded->object(shard_at(i)).pieces.empty());
  }
  CHECK(parts[0].expired());
  CHECK_FALSE(parts[1].expired());
  CHECK(join(encoded->object(shard_at(2)).pieces) == objects[2]);
  CHECK(join(encoded->object(shard_at(5)).pieces) == objects[5]);
  encoded.reset();
  CHECK(parts[2].expired());
  // What is being sent stays whole to its end.
  CHECK(join(sent.pieces) == objects[1]);
  CHECK(join(parity.pieces) == objects[4]);
  sent = {};
  CHECK(parts[1].expired());
}

TEST_CASE("any 3 of 6 shards give every shard back, for all subsets") {
  for (const std::uint64_t bytes : {std::uint64_t{1}, std::uint64_t{leaf_bytes}, std::uint64_t{300'000}}) {
    const Sample sample({3, 6}, bytes);
    for (unsigned mask = 0; mask < 64; ++mask) {
      std::vector<std::size_t> kept;
      for (std::size_t i = 0; i < 6; ++i)
        if ((mask >> i & 1) != 0) kept.push_back(i);
      if (kept.size() >= 3) REQUIRE(sample.rebuilds_all(kept));
    }
  }
}

TEST_CASE("any k of n shards give every shard back, for random subsets of larger codes") {
  const std::vector<Redundancy> codes{{1, 3}, {2, 2}, {8, 12}, {20, 29}, {29, 80}};
  for (const Redundancy code : codes) {
    const Sample sample(code, std::uint64_t{code.k} * leaf_bytes - 5);
    INFO("k " << int{code.k} << " n " << int{code.n});
    CHECK(rc::check([&] {
      std::vector<std::size_t> order(code.n);
      std::iota(order.begin(), order.end(), std::size_t{0});
      for (std::size_t i = 0; i < code.k; ++i) std::swap(order[i], order[*rc::gen::inRange<std::size_t>(i, code.n)]);
      order.resize(code.k);
      RC_ASSERT(sample.rebuilds_all(order));
    }));
  }
}

TEST_CASE("a run of leaves is rebuilt from the same run of others, without the rest") {
  const Sample sample({3, 6}, 20 * 3 * leaf_bytes);
  std::vector<std::pair<ShardIndex, ByteView>> available;
  for (const std::size_t i : {4, 1, 5})
    available.emplace_back(shard_at(i), ByteView(sample.leaves[i]).subspan(7 * leaf_bytes, 2 * leaf_bytes));
  Bytes rebuilt(2 * leaf_bytes);
  REQUIRE(rebuild_leaves({3, 6}, ShardIndex(0), available, rebuilt));
  CHECK(std::equal(rebuilt.begin(), rebuilt.end(), sample.leaves[0].begin() + 7 * leaf_bytes));
}

TEST_CASE("with fewer than k distinct shards nothing is rebuilt") {
  const Sample sample({3, 6}, 1000);
  const ByteView leaf = sample.leaves[4];
  Bytes rebuilt(leaf.size());
  const auto twice = rebuild_leaves({3, 6}, ShardIndex(0),
                                    {{ShardIndex(4), leaf}, {ShardIndex(4), leaf}, {ShardIndex(5), sample.leaves[5]}}, rebuilt);
  REQUIRE_FALSE(twice.has_value());
  CHECK(twice.error().code == Code::too_few_nodes);
  CHECK(rebuild_leaves({3, 6}, ShardIndex(0), {}, rebuilt).error().code == Code::too_few_nodes);
  CHECK(rebuild_leaves({3, 6}, ShardIndex(0), {{ShardIndex(6), leaf}}, rebuilt).error().code == Code::invalid);
  CHECK(rebuild_leaves({3, 6}, ShardIndex(0), {{ShardIndex(1), leaf.first(100)}}, rebuilt).error().code == Code::invalid);
}

TEST_CASE("every leaf of every object verifies at its place") {
  const Sample sample({3, 6}, 500'000);
  for (std::size_t i = 0; i < 6; ++i) {
    const ByteView body = ByteView(sample.objects[i]).subspan(shard_header_bytes);
    CHECK(sample.macs.verify(shard_at(i), 0, sample.geometry.leaves, body));
    for (std::uint32_t leaf = 0; leaf < sample.geometry.leaves; ++leaf) {
      const auto offset = static_cast<std::size_t>(ShardGeometry::leaf_offset(leaf));
      CHECK(sample.macs.verify(shard_at(i), leaf, 1, ByteView(sample.objects[i]).subspan(offset, step)));
    }
  }
}

TEST_CASE("a flipped bit in a leaf or its MAC does not verify") {
  const Sample sample({2, 3}, 100'000);
  CHECK(rc::check([&] {
    const auto shard = *rc::gen::inRange<std::size_t>(0, 3);
    const std::size_t bits = (sample.objects[shard].size() - shard_header_bytes) * 8;
    const auto bit = *rc::gen::inRange<std::size_t>(0, bits);
    Bytes body(sample.objects[shard].begin() + shard_header_bytes, sample.objects[shard].end());
    body[bit / 8] = static_cast<std::uint8_t>(body[bit / 8] ^ (1u << bit % 8));
    RC_ASSERT_FALSE(sample.macs.verify(shard_at(shard), 0, sample.geometry.leaves, body));
  }));
  Bytes leaf(sample.objects[0].begin() + shard_header_bytes, sample.objects[0].begin() + shard_header_bytes + step);
  for (std::size_t bit = leaf_bytes * 8; bit < step * 8; ++bit) {
    leaf[bit / 8] = static_cast<std::uint8_t>(leaf[bit / 8] ^ (1u << bit % 8));
    REQUIRE_FALSE(sample.macs.verify(ShardIndex(0), 0, 1, leaf));
    leaf[bit / 8] = static_cast<std::uint8_t>(leaf[bit / 8] ^ (1u << bit % 8));
  }
  REQUIRE(sample.macs.verify(ShardIndex(0), 0, 1, leaf));
}

TEST_CASE("a leaf does not verify as another leaf, shard, attempt, volume or under another key, nor cut short") {
  SystemRandom random;
  const SecretKey key = SecretKey::random(random);
  const auto volume = random.id<VolumeId>();
  const auto attempt = random.id<AttemptId>();
  const LeafMacs macs(key, volume, attempt);
  Bytes answer = some_bytes(step);
  macs.compute(ShardIndex(2), 5, ByteView(answer).first(leaf_bytes),
               std::span<std::uint8_t, leaf_mac_bytes>(&answer[leaf_bytes], leaf_mac_bytes));
  CHECK(LeafMacs(key, volume, attempt).verify(ShardIndex(2), 5, 1, answer));
  CHECK_FALSE(macs.verify(ShardIndex(2), 6, 1, answer));
  CHECK_FALSE(macs.verify(ShardIndex(2), 5 + 256, 1, answer));
  CHECK_FALSE(macs.verify(ShardIndex(3), 5, 1, answer));
  CHECK_FALSE(LeafMacs(key, volume, random.id<AttemptId>()).verify(ShardIndex(2), 5, 1, answer));
  CHECK_FALSE(LeafMacs(key, random.id<VolumeId>(), attempt).verify(ShardIndex(2), 5, 1, answer));
  CHECK_FALSE(LeafMacs(SecretKey::random(random), volume, attempt).verify(ShardIndex(2), 5, 1, answer));
  CHECK_FALSE(macs.verify(ShardIndex(2), 5, 1, ByteView(answer).first(step - 1)));
  CHECK_FALSE(macs.verify(ShardIndex(2), 5, 2, answer));
  CHECK_FALSE(macs.verify(ShardIndex(2), 5, 0, answer));
  CHECK(macs.verify(ShardIndex(2), 5, 0, {}));
}

TEST_CASE("the leaf MAC is libsodium's Poly1305 under a key of its own") {
  SystemRandom random;
  const SecretKey key = SecretKey::random(random);
  const auto volume = random.id<VolumeId>();
  const auto attempt = random.id<AttemptId>();
  Bytes message;
  for (const ByteView part : {as_bytes("leaf-mac"), volume.view(), attempt.view()})
    message.insert(message.end(), part.begin(), part.end());
  std::array<std::uint8_t, 32> attempt_key;
  crypto_generichash(attempt_key.data(), 32, message.data(), message.size(), key.data(), 32);
  const std::array<std::uint8_t, 16> place{3, 0, 0, 0, 0x04, 0x03, 0x02, 0x01};
  std::array<std::uint8_t, 32> leaf_key;
  crypto_core_hchacha20(leaf_key.data(), place.data(), attempt_key.data(), nullptr);
  const Bytes leaf = some_bytes(leaf_bytes);
  std::array<std::uint8_t, 16> expected;
  crypto_onetimeauth_poly1305(expected.data(), leaf.data(), leaf.size(), leaf_key.data());
  std::array<std::uint8_t, 16> computed;
  LeafMacs(key, volume, attempt).compute(ShardIndex(3), 0x01020304, leaf, computed);
  CHECK(computed == expected);
}

TEST_CASE("sizes fall into few classes, each segment fits its own, and larger ones never take less") {
  for (int k = 1; k <= 255; ++k) {
    const Redundancy redundancy{static_cast<std::uint8_t>(k), 255};
    std::set<std::uint32_t> classes;
    std::uint32_t before = 0;
    for (std::uint64_t bytes = 0; bytes <= segment_bytes_max; bytes += leaf_bytes / 2 + 1) {
      const ShardGeometry geometry = ShardGeometry::of(redundancy, bytes);
      REQUIRE(geometry.leaves >= 1);
      REQUIRE(geometry.payload_bytes() * redundancy.k >= bytes);
      REQUIRE(geometry.leaves >= before);
      before = geometry.leaves;
      classes.insert(geometry.leaves);
    }
    REQUIRE(classes.size() <= 16 + 7 + 1);
  }
}

TEST_CASE("the classes are those of the format") {
  // Leaves a shard; by hand: powers of two below a sixteenth, then sixteenths rounded up, then the remainder's own.
  const auto classes_of = [](std::uint8_t k) {
    std::vector<std::uint32_t> classes;
    for (std::uint64_t bytes = 1; bytes <= segment_bytes_max; bytes += leaf_bytes) {
      const std::uint32_t leaves = ShardGeometry::of({k, 255}, bytes).leaves;
      if (classes.empty() || classes.back() != leaves) classes.push_back(leaves);
    }
    return classes;
  };
  CHECK(classes_of(3) == std::vector<std::uint32_t>{1,   2,   4,   8,   16,  32,  43,  86,  128, 171, 214, 256,
                                                    299, 341, 384, 427, 469, 512, 555, 597, 640, 682, 683});
  CHECK(classes_of(20) ==
        std::vector<std::uint32_t>{1, 2, 4, 7, 13, 20, 26, 32, 39, 45, 51, 58, 64, 71, 77, 83, 90, 96, 102, 103});
  CHECK(classes_of(255) == std::vector<std::uint32_t>{1, 2, 3, 4, 5, 6, 7, 8, 9});
}

TEST_CASE("a full segment costs n/k and less than 0.3 percent, MACs and header included") {
  for (int k = 1; k <= 255; ++k) {
    const Redundancy redundancy{static_cast<std::uint8_t>(k), 255};
    const std::uint64_t bytes = ShardGeometry::segment_capacity(redundancy);
    REQUIRE(bytes <= segment_bytes_max);
    REQUIRE(bytes > segment_bytes_max / 2 - std::uint64_t{leaf_bytes} * redundancy.k);
    REQUIRE(bytes < segment_bytes_max / 2 + std::uint64_t{leaf_bytes} * redundancy.k);
    const ShardGeometry geometry = ShardGeometry::of(redundancy, bytes);
    REQUIRE(geometry.payload_bytes() * redundancy.k == bytes);
    REQUIRE(static_cast<double>(geometry.object_bytes() * redundancy.k) < static_cast<double>(bytes) * 1.003);
  }
  for (const std::uint8_t k : {std::uint8_t{3}, std::uint8_t{8}}) {
    const ShardGeometry largest = ShardGeometry::of({k, 12}, segment_bytes_max);
    CHECK(static_cast<double>(largest.object_bytes() * k) < static_cast<double>(segment_bytes_max) * 1.003);
  }
}

TEST_CASE("the runs that cover a range give exactly its bytes") {
  const Sample sample({3, 4}, 600'000);
  CHECK(rc::check([&] {
    const auto offset = *rc::gen::inRange<std::uint64_t>(0, sample.segment.size());
    const auto length = *rc::gen::inRange<std::uint64_t>(0, sample.segment.size() - offset + 1);
    Bytes found;
    std::uint64_t at = offset;
    for (const ShardGeometry::Run& run : sample.geometry.cover(offset, length)) {
      const ByteView leaves =
          ByteView(sample.leaves[run.shard.value])
              .subspan(std::size_t{run.first_leaf} * leaf_bytes, std::size_t{run.leaf_count} * leaf_bytes);
      RC_ASSERT(run.segment_offset <= at);
      RC_ASSERT(at - run.segment_offset < leaf_bytes);
      const std::uint64_t stop = std::min(offset + length, run.segment_offset + leaves.size());
      const ByteView part = leaves.subspan(at - run.segment_offset, stop - at);
      found.insert(found.end(), part.begin(), part.end());
      at = stop;
    }
    RC_ASSERT(at == offset + length);
    RC_ASSERT(std::equal(found.begin(), found.end(), sample.segment.begin() + offset,
                         sample.segment.begin() + offset + length));
  }));
}

TEST_CASE("object names differ by attempt, shard and node, share a secret prefix on one node, and need the key") {
  SystemRandom random;
  const SecretKey key = SecretKey::random(random);
  const auto attempt = random.id<AttemptId>();
  const auto node = random.id<NodeId>();
  const std::string name = shard_object_name(key, attempt, ShardIndex(0), node);
  CHECK(name.size() == 50);
  CHECK(name.find_first_not_of("0123456789abcdef") == std::string::npos);
  CHECK(name.starts_with(shard_object_prefix(key, node)));
  CHECK(shard_object_prefix(key, node).size() == 10);
  CHECK(name == shard_object_name(key, attempt, ShardIndex(0), node));
  const auto other_node = random.id<NodeId>();
  const std::set<std::string> tails{
      name.substr(10),
      shard_object_name(key, attempt, ShardIndex(1), node).substr(10),
      shard_object_name(key, random.id<AttemptId>(), ShardIndex(0), node).substr(10),
      shard_object_name(key, attempt, ShardIndex(0), other_node).substr(10),
      shard_object_name(SecretKey::random(random), attempt, ShardIndex(0), node).substr(10),
  };
  CHECK(tails.size() == 5);
  CHECK(shard_object_prefix(key, node) != shard_object_prefix(key, other_node));
}

}  // namespace atl
