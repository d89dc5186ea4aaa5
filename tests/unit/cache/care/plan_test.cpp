#include <catch2/catch.hpp>

#include "cache/care/care_state.h"
#include "cache/care/plan.h"

using namespace atl;

namespace {

NodeId node(std::uint8_t number) {
  NodeId id;
  id.bytes[0] = number;
  return id;
}

/// A segment with n shards, shard i on node i + 1.
SegmentRow segment(std::uint8_t k, std::uint8_t n) {
  SegmentRow row;
  row.has_attempt = row.finished = true;
  row.live_extents = 1;
  row.k = k;
  row.n = n;
  for (std::uint8_t i = 0; i < n; ++i) row.placed.push_back({ShardIndex(i), node(static_cast<std::uint8_t>(i + 1))});
  return row;
}

NodeFates all_present(std::uint8_t n) {
  NodeFates fates;
  for (std::uint8_t i = 1; i <= n; ++i) fates[node(i)] = NodeFate::present;
  return fates;
}

CareJob plan_one(const SegmentRow& row, const NodeFates& fates, std::uint8_t r, const BadShards& bad = {}) {
  return plan_segment(SegmentId(1), row, assess(row, fates, bad), r);
}

std::vector<int> shards(const std::vector<ShardHome>& homes) {
  std::vector<int> numbers;
  for (const ShardHome& home : homes) numbers.push_back(home.shard.value);
  return numbers;
}

}  // namespace

TEST_CASE("A healthy segment is left alone, a node that is only away is waited for", "[care]") {
  const SegmentRow row = segment(3, 6);
  NodeFates fates = all_present(6);
  CHECK(plan_one(row, fates, 5).empty());
  CHECK(assess(row, fates, {}).margin == 3);
  fates[node(2)] = NodeFate::away;
  CHECK(plan_one(row, fates, 5).empty());
  CHECK(assess(row, fates, {}).margin == 2);
  fates[node(4)] = NodeFate::blinked;  // a moment ago: no reason to hurry
  CHECK(plan_one(row, fates, 5).empty());
  fates[node(4)] = NodeFate::present;
  fates[node(2)] = NodeFate::overdue;
  CHECK(shards(plan_one(row, fates, 5).rebuild) == std::vector<int>{1});
}

TEST_CASE("Where only one more may go, everything missing is rebuilt at once", "[care]") {
  const SegmentRow row = segment(3, 6);
  NodeFates fates = all_present(6);
  fates[node(2)] = fates[node(4)] = NodeFate::away;
  CHECK(plan_one(row, fates, 5).margin == 1);
  CHECK(shards(plan_one(row, fates, 5).rebuild) == std::vector<int>{1, 3});
}

TEST_CASE("Damaged shards, and those on nodes that are the drive's no more, are replaced without waiting", "[care]") {
  const SegmentRow row = segment(3, 6);
  NodeFates fates = all_present(6);
  CHECK(shards(plan_one(row, fates, 5, {{row.attempt, {ShardIndex(5), node(6)}}}).rebuild) == std::vector<int>{5});
  fates.erase(node(1));
  CHECK(shards(plan_one(row, fates, 5).rebuild) == std::vector<int>{0});
}

TEST_CASE("With fewer than k shards nothing can be rebuilt, and what a leaving node holds still moves", "[care]") {
  const SegmentRow row = segment(3, 6);
  NodeFates fates;
  fates[node(1)] = NodeFate::present;
  fates[node(2)] = NodeFate::leaving;
  CHECK(plan_one(row, fates, 5).rebuild.empty());
  CHECK(shards(plan_one(row, fates, 5).move) == std::vector<int>{1});
}

TEST_CASE("On many nodes repair waits until fewer than r shards are left, then makes good for all at once", "[care]") {
  const SegmentRow row = segment(29, 80);
  NodeFates fates = all_present(80);
  for (std::uint8_t i = 1; i <= 17; ++i) fates[node(i)] = NodeFate::overdue;
  CHECK(plan_one(row, fates, 63).empty());
  fates[node(18)] = NodeFate::overdue;
  CHECK(plan_one(row, fates, 63).rebuild.size() == 18);
}

TEST_CASE("What is nearest to loss is repaired first, and moving comes last", "[care]") {
  std::map<SegmentId, SegmentRow> segments;
  for (std::uint8_t i = 1; i <= 4; ++i) {
    segments[SegmentId(i)] = i == 4 ? segment(2, 4) : segment(2, 5);
    segments[SegmentId(i)].attempt.bytes[0] = i;
  }
  NodeFates fates = all_present(5);
  fates[node(1)] = NodeFate::leaving;
  BadShards bad;
  bad.insert({segments[SegmentId(2)].attempt, {ShardIndex(4), node(5)}});
  bad.insert({segments[SegmentId(3)].attempt, {ShardIndex(4), node(5)}});
  bad.insert({segments[SegmentId(3)].attempt, {ShardIndex(3), node(4)}});
  std::vector<std::uint64_t> order;
  for (const CareJob& job : plan_repairs(segments, fates, bad, 4)) order.push_back(job.segment.value);
  CHECK(order == std::vector<std::uint64_t>{3, 2, 4, 1});
}

TEST_CASE("A node that loses everything is failing after some forty audits, one wrong answer makes it doubted", "[care]") {
  Reputation reputation;
  CHECK(reputation.trust() == Trust::good);
  reputation.wrong();
  CHECK(reputation.trust() == Trust::doubted);
  int wrong = 1;
  while (reputation.trust() != Trust::failing) {
    reputation.wrong();
    REQUIRE(++wrong < 100);
  }
  CHECK(wrong == 41);
}

TEST_CASE("A doubted node is trusted again after as many right answers as show a loss of a hundredth", "[care]") {
  Reputation reputation;
  reputation.wrong();
  for (unsigned i = 0; i + 1 < audits_per_day; ++i) reputation.right();
  CHECK(reputation.trust() == Trust::doubted);
  reputation.right();
  CHECK(reputation.trust() == Trust::good);
}

TEST_CASE("What care learnt of nodes is there after a remount; a damaged memory is not believed", "[care]") {
  CareState state;
  AttemptId attempt;
  attempt.bytes[1] = 4;
  NodeMemory memory;
  memory.reputation.right();
  memory.reputation.wrong();
  memory.away_since = 1234;
  memory.counted_lost = true;
  state.nodes[node(7)] = memory;
  state.nodes[node(8)] = {};
  state.bad.insert({attempt, {ShardIndex(2), node(7)}});
  state.pending.push_back({attempt, {ShardIndex(3), node(7)}, 17, 2});
  state.node_seconds = 99;
  state.losses = 3;
  Bytes bytes = encode_care(state, VolumeId{});
  const auto again = decode_care(bytes, VolumeId{});
  REQUIRE(again);
  REQUIRE(again->nodes.size() == 2);
  CHECK(again->nodes.at(node(7)).away_since == 1234);
  CHECK(again->nodes.at(node(7)).counted_lost);
  CHECK(again->nodes.at(node(7)).reputation.score() == memory.reputation.score());
  CHECK(again->nodes.at(node(7)).reputation.trust() == Trust::doubted);
  CHECK(again->bad == state.bad);
  CHECK(again->pending == state.pending);
  CHECK(again->node_seconds == 99);
  CHECK(again->losses == 3);
  VolumeId other;
  other.bytes[0] = 1;
  CHECK_FALSE(decode_care(bytes, other));
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= 0x10;
    CHECK_FALSE(decode_care(bytes, VolumeId{}));
    bytes[i] ^= 0x10;
  }
}
