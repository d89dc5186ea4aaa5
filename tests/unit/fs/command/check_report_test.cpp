#include "fs/command/check_report.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace atl;
using nlohmann::json;

namespace {

CheckReport well() {
  CheckReport report;
  report.journal_records = 40;
  report.index_compared = true;
  report.index_rows = 70;
  report.segments = 2;
  report.shards = 12;
  for (std::uint8_t i = 0; i < 6; ++i) {
    CheckedNode node;
    node.node.bytes[0] = i;
    node.url = "dir:/node" + std::to_string(i);
    node.listed = true;
    node.shards = 2;
    report.nodes.push_back(node);
  }
  return report;
}

bool says(const std::string& text, const std::string& what) { return text.find(what) != std::string::npos; }

Exit exit_of(const CheckReport& report) {
  const auto outcome = check_outcome(check_json(report));
  return outcome ? Exit::done : outcome.error().exit;
}

}  // namespace

TEST_CASE("A check that finds nothing says what it looked at, and ends with 0", "[check]") {
  CheckReport report = well();
  report.read_bytes = 5'000'000;
  const std::string text = check_text(check_json(report));
  INFO(text);
  CHECK(says(text, "whole, 40 records"));
  CHECK(says(text, "row by row (70 rows)"));
  CHECK(says(text, "dir:/node3: 2 shards, all there"));
  CHECK(says(text, "Looked for 12 shards of 2 segments, read and verified"));
  CHECK(exit_of(report) == Exit::done);
}

TEST_CASE("What is damaged and can be mended ends with 1, and says which node and which file", "[check]") {
  CheckReport report = well();
  report.found = report.left = 1;
  report.nodes[4].missing = 1;
  report.weakened_segments = 1;
  report.weakened_files = {{"tree/photo"}, 1};
  const std::string text = check_text(check_json(report));
  INFO(text);
  CHECK(says(text, "dir:/node4: 2 shards, 1 missing"));
  CHECK(says(text, "1 file can be read, and rest on something damaged:\n  tree/photo"));
  CHECK(exit_of(report) == Exit::failed);
  report.left = 0;
  CHECK(says(check_text(check_json(report)), "replaced"));
  CHECK(exit_of(report) == Exit::done);
}

TEST_CASE("What cannot be read, and nodes that do not answer, end with 6", "[check]") {
  CheckReport report = well();
  report.nodes[1].listed = false;
  report.nodes[1].error = "it is away";
  CHECK(exit_of(report) == Exit::too_few_nodes);
  CHECK(says(check_text(check_json(report)), "dir:/node1: 2 shards, not looked at: it is away"));
  report = well();
  report.lost_segments = 1;
  report.lost_files = {{"a", "b"}, 2};
  CHECK(exit_of(report) == Exit::too_few_nodes);
  CHECK(says(check_text(check_json(report)), "2 files cannot be read in full now:\n  a\n  b"));
}

TEST_CASE("A damaged journal, checkpoint or index is named, with what mends it", "[check]") {
  CheckReport report = well();
  report.journal_damage = "the journal /j is damaged at byte 300";
  report.index_compared = false;
  CHECK(exit_of(report) == Exit::failed);
  CHECK(says(check_text(check_json(report)), "damaged at byte 300"));
  CHECK(says(check_text(check_json(report)), "--repair"));
  report.journal_mended = true;
  CHECK(exit_of(report) == Exit::done);
  report = well();
  report.index_damage = "1 of 70 rows of the index are not what the journal says";
  report.index_at_mount = true;
  CHECK(exit_of(report) == Exit::failed);
  CHECK(says(check_text(check_json(report)), "mended at the next mount"));
}
