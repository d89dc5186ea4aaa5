#include "cache/drive/label_survival.h"

#include <catch2/catch.hpp>

using namespace atl;

namespace {

NodeId id_of(int i) {
  NodeId id;
  id.bytes[0] = static_cast<std::uint8_t>(i + 1);
  return id;
}

NodeStatus node(int i, Labels labels) {
  NodeStatus status;
  status.spec.id = id_of(i);
  status.spec.labels = std::move(labels);
  return status;
}

SegmentRow segment(std::uint8_t k, const std::vector<int>& holders) {
  SegmentRow row;
  row.live_extents = 1;
  row.has_attempt = true;
  row.k = k;
  row.n = static_cast<std::uint8_t>(holders.size());
  for (std::size_t i = 0; i < holders.size(); ++i) row.placed.push_back({ShardIndex(static_cast<std::uint8_t>(i)), id_of(holders[i])});
  return row;
}

}  // namespace

TEST_CASE("A country may vanish if every segment keeps enough shards elsewhere") {
  const std::vector<NodeStatus> nodes{node(0, {{"country", "de"}, {"operator", "anna"}}), node(1, {{"country", "de"}, {"operator", "berta"}}),
                                      node(2, {{"country", "fr"}, {"operator", "anna"}}), node(3, {{"country", "pl"}, {"operator", "anna"}})};
  std::map<SegmentId, SegmentRow> segments;
  segments[SegmentId(1)] = segment(2, {0, 1, 2, 3});
  auto labels = survive_labels(segments, nodes, {});
  REQUIRE(labels.size() == 2);
  CHECK(labels[0].key == "operator");
  CHECK(labels[0].needed == std::vector<std::string>{"anna"});
  CHECK(labels[0].may_vanish == std::vector<std::string>{"berta"});
  CHECK(labels[1].needed.empty());
  CHECK(labels_text(labels) == "all of any one country, or operator berta; but not operator anna");

  // One segment that lies otherwise is enough.
  segments[SegmentId(2)] = segment(2, {0, 1, 2});
  labels = survive_labels(segments, nodes, {});
  CHECK(labels[1].needed == std::vector<std::string>{"de"});
  // What is dead needs nothing.
  segments[SegmentId(2)].live_extents = 0;
  CHECK(survive_labels(segments, nodes, {})[1].needed.empty());
}

TEST_CASE("What is lost already does not count as being elsewhere") {
  const std::vector<NodeStatus> nodes{node(0, {{"country", "de"}}), node(1, {{"country", "fr"}}), node(2, {})};
  std::map<SegmentId, SegmentRow> segments;
  segments[SegmentId(1)] = segment(1, {0, 1, 2});
  CHECK(survive_labels(segments, nodes, {})[0].needed.empty());
  const auto labels = survive_labels(segments, nodes, {id_of(0), id_of(1)});
  CHECK(labels[0].needed == std::vector<std::string>{""});
  CHECK(labels_text(labels) == "all of country de or country fr; but not the nodes without a country");
}

TEST_CASE("Without labels nothing is said of them") {
  std::map<SegmentId, SegmentRow> segments;
  segments[SegmentId(1)] = segment(1, {0});
  CHECK(survive_labels(segments, {node(0, {})}, {}).empty());
  CHECK(labels_text({}).empty());
}
