#include "fs/config/config.h"

#include <catch2/catch.hpp>
#include <map>

#include "fs/config/places.h"
#include "fs/config/quantities.h"

using namespace atl;

TEST_CASE("A configuration file sets what it names and leaves the rest") {
  Config config;
  REQUIRE(read_config(config, "staging_max = \"2GiB\"\ncache_max = 1073741824\nflush_interval_s = 0.5\ngc_grace_s = 0\n", "f"));
  CHECK(config.drive.staging_max == 2ull << 30);
  CHECK(config.drive.cache_max == 1ull << 30);
  CHECK(config.drive.flush_interval == std::chrono::milliseconds(500));
  CHECK(config.drive.gc_grace == Duration(0));
  CHECK(config.drive.read_timeout == std::chrono::seconds(30));
}

TEST_CASE("An unknown key is refused by name and line") {
  Config config;
  const auto read = read_config(config, "# comment\n\nstaging_mx = 5\n", "drive.toml");
  REQUIRE(!read);
  CHECK(read.error().code == Code::invalid);
  CHECK(read.error().what.find("drive.toml:3") != std::string::npos);
  CHECK(read.error().what.find("staging_mx") != std::string::npos);
}

TEST_CASE("Values that make no sense are refused with their line") {
  for (const std::string text :
       {"staging_max = 1", "staging_max = -5", "staging_max = \"lots\"", "read_timeout_s = -1", "read_timeout_s = nan",
        "read_timeout_s = inf", "read_timeout_s = \"30s\"", "flush_interval_s = 0", "workers = 0", "workers = 2.5",
        "workers = 1000000", "gc_grace_s = [1]", "gc_grace_s = {a=1}", "log_level = \"loud\"", "allow_other = 7", "staging_max ="}) {
    Config config;
    INFO(text);
    const auto read = read_config(config, text, "f");
    REQUIRE(!read);
    CHECK(read.error().what.find("f:1") != std::string::npos);
  }
}

TEST_CASE("Each line of the file that init writes is a default when it is switched on") {
  const std::string text = default_config_text("photos");
  Config config;
  REQUIRE(read_config(config, text, "f"));
  std::string active;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    const std::string line = text.substr(at, end - at);
    if (line.starts_with("#") && !line.starts_with("# ")) active += line.substr(1) + "\n";
    at = end + 1;
  }
  REQUIRE(active.find("staging_max") != std::string::npos);
  const Config before;
  REQUIRE(read_config(config, active, "f"));
  CHECK(config.drive.staging_max == before.drive.staging_max);
  CHECK(config.drive.cache_max == before.drive.cache_max);
  CHECK(config.drive.dirty_max == before.drive.dirty_max);
  CHECK(config.drive.disk_reserve == before.drive.disk_reserve);
  CHECK(config.drive.flush_interval == before.drive.flush_interval);
  CHECK(config.drive.read_timeout == before.drive.read_timeout);
  CHECK(config.drive.write_timeout == before.drive.write_timeout);
  CHECK(config.drive.ship_interval == before.drive.ship_interval);
  CHECK(config.drive.gc_grace == before.drive.gc_grace);
  CHECK(config.log_max == before.log_max);
}

namespace {

Result<Places> places_with(const std::map<std::string, std::string>& variables, bool root, const std::string& name = "photos") {
  return find_places(
      name,
      [&](const char* variable) -> const char* {
        const auto found = variables.find(variable);
        return found == variables.end() ? nullptr : found->second.c_str();
      },
      root);
}

}  // namespace

TEST_CASE("A drive's places follow the environment") {
  auto places = places_with({{"HOME", "/home/anna"}}, false);
  REQUIRE(places);
  CHECK(places->state == "/home/anna/.local/share/atoll/photos");
  CHECK(places->nodes == "/home/anna/.local/share/atoll/photos.nodes");
  CHECK(places->config_file == "/home/anna/.config/atoll/photos.toml");
  places = places_with({{"HOME", "/home/anna"}, {"XDG_DATA_HOME", "/data"}, {"XDG_CONFIG_HOME", "/config"}}, false);
  CHECK(places->state == "/data/atoll/photos");
  CHECK(places->config_file == "/config/atoll/photos.toml");
  CHECK(places_with({{"HOME", "/root"}}, true)->config_file == "/etc/atoll/photos.toml");
  places = places_with({{"HOME", "/root"}, {"ATOLL_HOME", "/srv/drives/"}}, true);
  CHECK(places->state == "/srv/drives/photos");
  CHECK(places->config_file == "/srv/drives/photos.toml");
  CHECK(places_with({{"HOME", "/h"}, {"XDG_DATA_HOME", "relative"}}, false)->state == "/h/.local/share/atoll/photos");
  CHECK(!places_with({}, false));
}

TEST_CASE("A name that could leave its folder or meet another's is no drive's name") {
  for (const std::string name : {"", ".", "..", "a/b", "-x", ".hidden", "a b", "a\nb", "x.nodes", "\xc3\xa4"}) {
    INFO(name);
    CHECK(!places_with({{"HOME", "/h"}}, false, name));
  }
  CHECK(!places_with({{"HOME", "/h"}}, false, std::string(65, 'a')));
  CHECK(places_with({{"HOME", "/h"}}, false, "My-drive_2.0"));
}

TEST_CASE("Times and labels on a command line are read strictly") {
  CHECK(parse_seconds("90") == std::chrono::seconds(90));
  CHECK(parse_seconds("90s") == std::chrono::seconds(90));
  CHECK(parse_seconds("15m") == std::chrono::minutes(15));
  CHECK(parse_seconds("7d") == std::chrono::hours(7 * 24));
  for (const char* nonsense : {"", "d", "-1", "1.5h", "1w", "1 h", "99999999999d"}) {
    CAPTURE(nonsense);
    CHECK(parse_seconds(nonsense).error().code == Code::invalid);
  }
  CHECK(parse_labels({"country=de", "operator=Anna & Co"}) == Labels{{"country", "de"}, {"operator", "Anna & Co"}});
  CHECK(parse_labels({"a=b=c"}) == Labels{{"a", "b=c"}});
  for (const std::vector<std::string>& nonsense : {std::vector<std::string>{"country"}, {"=de"}, {"country="}, {"Country=de"}, {"a=1", "a=2"}}) {
    CAPTURE(nonsense);
    CHECK(parse_labels(nonsense).error().code == Code::invalid);
  }
}

TEST_CASE("A mount's limits are rates or none") {
  Config config;
  REQUIRE(read_config(config, "upload_limit = \"2MiB/s\"\ndownload_limit = \"200KiB\"\npaused = true\n", "f"));
  CHECK(config.flow.upload_limit == 2u << 20);
  CHECK(config.flow.download_limit == 200u << 10);
  CHECK(config.flow.paused);
  REQUIRE(set_config(config, "upload_limit", "none"));
  CHECK(config.flow.upload_limit == 0);
  for (const std::string text : {"", "fast", "-1", "1KiB", "2MiB/h", "/s"}) {
    INFO(text);
    const auto set = set_config(config, "download_limit", text);
    REQUIRE(!set);
    CHECK(set.error().code == Code::invalid);
    CHECK(config.flow.download_limit == 200u << 10);
  }
}
