#include "fs/command/status_report.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "fs/command/flow.h"

using namespace atl;
using nlohmann::json;

namespace {

struct Told {
  DriveStatus drive;
  CareStatus care;
  std::map<NodeId, NodeStatistics> statistics;

  Told() {
    drive.state = DriveState::ready;
    drive.redundancy = {3, 6};
    drive.protect_min = 5;
    for (std::uint8_t i = 0; i < 6; ++i) {
      NodeStatus node;
      node.spec.id.bytes[0] = i + 1;
      node.spec.url = "dir:/node" + std::to_string(i);
      node.state = NodeState::ok;
      drive.nodes.push_back(node);
      NodeCare known;
      known.node = node.spec.id;
      known.audits = 500;
      known.shards = 7;
      care.nodes.push_back(known);
    }
    care.margins[{Redundancy{3, 6}, 3}] = 6;
    care.worst_segment = SegmentId(12);
    care.worst_margin = 3;
    care.yearly_loss = 0.000213;
    care.safe_days = 17;
  }
  Duration kept{};
  json as_json() const {
    json status = status_json(drive, "photos", "/mnt");
    add_care(status, care);
    add_statistics(status, statistics, kept);
    return status;
  }
  std::string text() const { return status_text(as_json()); }
};

bool says(const std::string& text, const std::string& what) { return text.find(what) != std::string::npos; }

}  // namespace

TEST_CASE("Status tells the margins, the worst segment, the risk of a year, and for how long nobody is needed", "[status]") {
  Told told;
  told.care.margins[{Redundancy{3, 6}, 1}] = 1;
  told.care.margins[{Redundancy{2, 4}, 2}] = 2;
  told.care.worst_margin = 1;
  const std::string text = told.text();
  INFO(text);
  CHECK(says(text, "segment 12 has least: 1 shard more than it needs"));
  CHECK(says(text, "of 3/6, 6 segments with margin 3"));
  CHECK(says(text, "of 3/6, 1 segment with margin 1"));
  CHECK(says(text, "of 2/4, 2 segments with margin 2"));
  CHECK(says(text, "about 0.021 % a year that anything is lost; safe while away: 17 days"));
  CHECK_FALSE(says(text, "Repair:"));
  CHECK_FALSE(says(text, "doubtful"));
  const json care = told.as_json().at("care");
  CHECK(care.at("margins").size() == 3);
  CHECK(care.at("worst_segment") == 12);
  CHECK(care.at("yearly_loss") == 0.000213);
  CHECK(care.at("safe_days") == 17);
}

TEST_CASE("Status never claims more than eleven nines", "[status]") {
  Told told;
  told.care.yearly_loss = 1e-11;
  told.care.safe_days = 3650;
  CHECK(says(told.text(), "at most 0.000000001 % a year that anything is lost; safe while away: ten years or more"));
  told.care.yearly_loss = 0;
  CHECK(says(told.text(), "at most 0.000000001 % a year"));
  told.care.yearly_loss = 1;
  told.care.safe_days = 0;
  CHECK(says(told.text(), "about 100 % a year that anything is lost; safe while away: not a day"));
}

TEST_CASE("Status names a node that fails, and says what to do about it", "[status]") {
  Told told;
  told.care.nodes[1].trust = Trust::doubted;
  told.care.nodes[1].wrong = 2;
  told.care.nodes[1].bad_shards = 1;
  told.care.nodes[2].trust = Trust::failing;
  told.care.nodes[2].wrong = 60;
  told.care.nodes[4].leaving = true;
  told.care.nodes[5].leaving = true;
  told.care.nodes[5].shards = 0;
  told.drive.nodes[3].state = NodeState::absent;
  told.care.nodes[3].away_seconds = 8 * 86400 + 5;
  told.care.waiting_jobs = 3;
  told.care.no_place = true;
  const std::string text = told.text();
  INFO(text);
  CHECK(says(text, "doubtful: 2 of 500 samples were wrong or gone"));
  CHECK(says(text, "empty it: atoll node drain dir:/node1"));
  CHECK(says(text, "1 shard damaged or missing; replaced by themselves"));
  CHECK(says(text, "fails: 60 of 500 samples were wrong or gone"));
  CHECK(says(text, "what it holds is rebuilt elsewhere: 7 shards left"));
  CHECK(says(text, "away for 8 days of use, with 7 shards, which are rebuilt elsewhere if it stays away"));
  CHECK(says(text, "if it will not come back: atoll node remove dir:/node3"));
  CHECK(says(text, "is being emptied: 7 shards left"));
  CHECK(says(text, "is empty: it may go"));
  CHECK(says(text, "3 segments to be repaired or moved, and no node free to take their shards: add one"));
}

TEST_CASE("Status says of what cannot be read now how many shards are missing", "[status]") {
  Told told;
  told.care.worst_margin = -2;
  CHECK(says(told.text(), "segment 12 lacks 2 shards to be read: bring nodes back"));
}

TEST_CASE("Status says how fast a node answers and how often it did not", "[status]") {
  Told told;
  NodeStatistics& known = told.statistics[told.drive.nodes[2].spec.id];
  CHECK_FALSE(says(told.text(), " ms"));
  known.answered = 509;
  known.failed = 2;
  known.timed_out = 1;
  known.read_median = std::chrono::microseconds(1234);
  known.read_p95 = std::chrono::milliseconds(40);
  const std::string text = told.text();
  INFO(text);
  CHECK(says(text, "reads 1.2 ms (95 of 100 within 40 ms); 3 of 512 calls failed"));
  CHECK_FALSE(says(text, "writes"));
  const json shown = told.as_json().at("nodes")[2].at("statistics");
  CHECK(shown.at("timed_out") == 1);
  CHECK(shown.at("read_ms").at("median") == 1.234);
  CHECK(shown.at("write_ms").at("p95").is_null());
}

TEST_CASE("How often a node is asked a day is told from the first hour on", "[status]") {
  Told told;
  NodeStatistics known;
  known.answered = 590;
  known.failed = 10;
  told.statistics[told.drive.nodes[0].spec.id] = known;
  told.kept = std::chrono::minutes(59);
  CHECK(told.as_json().at("nodes")[0].at("statistics").at("requests_per_day").is_null());
  CHECK_FALSE(says(status_text(told.as_json()), "times a day"));
  told.kept = std::chrono::hours(2);
  CHECK(told.as_json().at("nodes")[0].at("statistics").at("requests_per_day") == 7200);
  CHECK(says(status_text(told.as_json()), "asked about 7200 times a day"));
}

TEST_CASE("Limits and a pause are shown while they hold, and changed by parts", "[status]") {
  struct : FlowControl {
    void set_flow(const Flow& flow) override { now = flow; }
    Flow flow() const override { return now; }
    Flow now;
  } control;
  Told told;
  const auto line = [&] {
    json status = told.as_json();
    status["flow"] = flow_json(control.now);
    return status_text(status);
  };
  CHECK_FALSE(says(line(), "Line:"));
  REQUIRE(change_flow(control, {{"upload_limit", 2u << 20}}));
  CHECK(says(line(), "Line:       to nodes at most 2.0 MiB/s; from nodes as fast as it goes"));
  const auto changed = change_flow(control, {{"paused", true}});
  REQUIRE(changed);
  CHECK(*changed == json{{"paused", true}, {"upload_limit", 2u << 20}, {"download_limit", 0}});
  CHECK(says(line(), "paused: nothing is sent to nodes until `atoll resume`, then at most 2.0 MiB/s"));
  for (const json& bad : {json{{"paused", 1}}, json{{"upload_limit", -1}}, json{{"download_limit", "none"}}}) {
    INFO(bad.dump());
    CHECK_FALSE(change_flow(control, bad));
  }
  CHECK(control.now == Flow{2u << 20, 0, true});
  REQUIRE(change_flow(control, {{"paused", false}, {"upload_limit", 0}}));
  CHECK(control.now == Flow{});
}
