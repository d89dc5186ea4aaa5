// What status says of the way back.
#include "fs/command/papers.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "fs/command/status_report.h"
#include "tests/support/memory_disk.h"

using namespace atl;
using nlohmann::json;

namespace {

struct Folder {
  MemoryDisk disk;
  std::vector<NodeSpec> nodes;
  Folder() {
    REQUIRE(disk.make_directory("/state"));
    for (std::uint8_t i = 0; i < 6; ++i) {
      NodeSpec node;
      node.id.bytes[0] = i;
      node.url = "dir:/nodes/" + std::to_string(i);
      nodes.push_back(node);
    }
  }
  json status(std::int64_t now) {
    DriveStatus status;
    status.redundancy = {3, 6};
    for (const NodeSpec& node : nodes) {
      status.nodes.emplace_back();
      status.nodes.back().spec = node;
    }
    json shown = status_json(status, "default", "");
    add_papers(shown, disk, "/state", {now, 0});
    return shown;
  }
};

}  // namespace

TEST_CASE("a kit is out of date when too few of its entries are still nodes", "[papers]") {
  Folder folder;
  CHECK(folder.status(5).at("kit").is_null());
  CHECK(status_text(folder.status(5)).find("none was made here") != std::string::npos);
  REQUIRE(note_kit(folder.disk, "/state", folder.nodes, {100, 0}));
  CHECK(folder.status(200).at("kit").at("current") == true);
  CHECK(folder.status(200).at("kit").at("checked_at") == 100);
  // Two replaced: four are left, and with three lost one still leads back.
  folder.nodes[0].id.bytes[1] = 1;
  folder.nodes[1].url = "dir:/elsewhere";
  CHECK(folder.status(200).at("kit").at("current") == true);
  CHECK(folder.status(200).at("kit").at("entries_good") == 4);
  folder.nodes.erase(folder.nodes.begin() + 2);
  CHECK(folder.status(200).at("kit").at("current") == false);
  CHECK(status_text(folder.status(200)).find("out of date") != std::string::npos);
  REQUIRE(note_kit_checked(folder.disk, "/state", {300, 0}));
  CHECK(folder.status(400).at("kit").at("checked_at") == 300);
  CHECK(folder.status(400).at("kit").at("made_at") == 100);
  REQUIRE(note_kit(folder.disk, "/state", folder.nodes, {500, 0}));
  CHECK(folder.status(600).at("kit").at("current") == true);
}

TEST_CASE("status shows the last drill, and a damaged note is as none", "[papers]") {
  Folder folder;
  CHECK(folder.status(5).at("drill").is_null());
  const json report{{"at", 1000}, {"passed", true}, {"all", false}, {"seconds", 2.5}, {"files", 12}, {"difference_count", 0}, {"bad_shards", 0}, {"survives", 3}};
  REQUIRE(note_drill(folder.disk, "/state", report));
  const json shown = folder.status(1000 + 3 * 86400);
  CHECK(shown.at("drill").at("age_seconds") == 3 * 86400);
  CHECK(status_text(shown).find("passed 3 days ago: 12 files") != std::string::npos);
  REQUIRE(replace_file(folder.disk, "/state/drill", as_bytes("{\"format\": 1, \"at\": \"yesterday\"}")));
  CHECK(folder.status(5).at("drill").is_null());
  REQUIRE(replace_file(folder.disk, "/state/drill", as_bytes("{")));
  CHECK(folder.status(5).at("drill").is_null());
}
