#include <stdlib.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "fs/command/cli.h"
#include "fs/command/redundancy.h"
#include "tests/support/temporary_folder.h"

using namespace atl;
using nlohmann::json;

namespace {

struct Ran {
  int exit = 0;
  std::string output;
  std::string errors;
};

/// Runs a command line with the drives' home in `folder`.
Ran run(const TemporaryFolder& folder, std::vector<std::string> words) {
  ::setenv("ATOLL_HOME", (folder / "home").c_str(), 1);
  ::unsetenv("XDG_CONFIG_HOME");
  ::unsetenv("CREDENTIALS_DIRECTORY");
  words.insert(words.begin(), "atoll");
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  std::ostringstream output;
  std::ostringstream errors;
  auto* const before_output = std::cout.rdbuf(output.rdbuf());
  auto* const before_errors = std::cerr.rdbuf(errors.rdbuf());
  Ran ran;
  ran.exit = run_command_line(static_cast<int>(pointers.size()), pointers.data());
  std::cout.rdbuf(before_output);
  std::cerr.rdbuf(before_errors);
  ran.output = output.str();
  ran.errors = errors.str();
  return ran;
}

using Lines = std::vector<std::vector<std::string>>;

}  // namespace

TEST_CASE("A command line that makes no sense ends with 2, says why, and makes nothing") {
  TemporaryFolder folder;
  for (const auto& words : Lines{{},
                                 {"bogus"},
                                 {"mount"},
                                 {"mount", "a", "b", "c"},
                                 {"status", "--bogus"},
                                 {"cache"},
                                 {"sync", "--local", "--full"},
                                 {"sync", "--timeout", "soon"},
                                 {"init", "--protect-min", "0"},
                                 {"init", "--redundancy", "3"},
                                 {"init", "--redundancy", "4/3"},
                                 {"init", "--redundancy", "3/7"},
                                 {"init", "--redundancy", "3/6", "--protect-min", "2"},
                                 {"init", "../x"},
                                 {"inspect", "nothing", "file"},
                                 {"status", "a/b"}}) {
    INFO(json(words).dump());
    const Ran ran = run(folder, words);
    CHECK(ran.exit == 2);
    CHECK(!ran.errors.empty());
  }
  CHECK(!std::filesystem::exists(folder / "home"));
}

TEST_CASE("With --json an error is JSON on standard error") {
  TemporaryFolder folder;
  Ran ran = run(folder, {"status", "--json"});
  CHECK(ran.exit == 3);
  CHECK(ran.output.empty());
  CHECK(json::parse(ran.errors).at("error").at("code") == "not_found");
  CHECK(!json::parse(ran.errors).at("error").at("hint").get<std::string>().empty());
  ran = run(folder, {"status", "--json", "--bogus"});
  CHECK(ran.exit == 2);
  CHECK(json::parse(ran.errors).at("error").at("code") == "invalid");
}

TEST_CASE("Help and version are no errors") {
  TemporaryFolder folder;
  CHECK(run(folder, {"--help"}).exit == 0);
  CHECK(run(folder, {"mount", "--help"}).exit == 0);
  CHECK(run(folder, {"version"}).exit == 0);
  CHECK(json::parse(run(folder, {"version", "--json"}).output).at("reads").contains("journal"));
}

TEST_CASE("Without a drive, or with one that is not mounted, commands end with 3") {
  TemporaryFolder folder;
  for (const std::string command : {"status", "sync", "gc"}) CHECK(run(folder, {command}).exit == 3);
  CHECK(run(folder, {"umount", folder.path()}).exit == 3);
  REQUIRE(run(folder, {"init"}).exit == 0);
  for (const auto& words : Lines{{"sync"}, {"gc"}, {"cache", "drop"}}) CHECK(run(folder, words).exit == 3);
  const Ran status = run(folder, {"status", "--json"});
  CHECK(status.exit == 0);
  const json report = json::parse(status.output);
  CHECK(report.at("state") == "unmounted");
  CHECK(report.at("nodes").size() == 6);
  CHECK(report.at("redundancy") == json{{"k", 3}, {"r", 5}, {"n", 6}});
  CHECK(run(folder, {"status"}).output.find("not mounted") != std::string::npos);
}

TEST_CASE("A drive that is not mounted can be checked") {
  TemporaryFolder folder;
  CHECK(run(folder, {"check"}).exit == 3);
  REQUIRE(run(folder, {"init", "--no-kit"}).exit == 0);
  const Ran ran = run(folder, {"check", "--read-data", "--json"});
  CHECK(ran.exit == 0);
  const json report = json::parse(ran.output);
  CHECK(report.at("sound") == true);
  CHECK(report.at("complete") == true);
  CHECK(report.at("nodes").size() == 6);
  CHECK(run(folder, {"check", "--repair"}).exit == 0);
  CHECK(run(folder, {"check", "--read-data=0"}).exit == 2);
  // A node that is gone is no damage, and no answer either.
  std::filesystem::remove_all(json::parse(run(folder, {"node", "list", "--json"}).output).at("nodes").at(0).at("url").get<std::string>().substr(4));
  CHECK(run(folder, {"check"}).exit == 6);
}

TEST_CASE("The redundancy of a drive that is not mounted can be seen and changed") {
  TemporaryFolder folder;
  REQUIRE(run(folder, {"init", "--no-kit"}).exit == 0);
  CHECK(run(folder, {"redundancy"}).output.starts_with("3/6: "));
  CHECK(run(folder, {"redundancy", "set", "2/5"}).exit == 0);
  const json shown = json::parse(run(folder, {"redundancy", "--json"}).output);
  CHECK(shown.at("redundancy") == json{{"k", 2}, {"r", 4}, {"n", 5}});
  CHECK(shown.at("suggested") == json{{"k", 3}, {"r", 5}, {"n", 6}});
  CHECK(run(folder, {"redundancy"}).output.find("atoll redundancy set 3/6") != std::string::npos);
  CHECK(run(folder, {"redundancy", "set", "default", "2/4", "--protect-min", "2"}).exit == 0);
  CHECK(json::parse(run(folder, {"status", "--json"}).output).at("redundancy") == json{{"k", 2}, {"r", 2}, {"n", 4}});
  CHECK(run(folder, {"redundancy", "set", "4/3"}).exit == 2);
  CHECK(run(folder, {"redundancy", "set", "2/4", "--protect-min", "5"}).exit == 2);
  CHECK(run(folder, {"redundancy", "set", "3/7"}).exit == 6);
  const Ran added = run(folder, {"node", "add", "dir:" + (folder / "more")});
  CHECK(added.exit == 0);
  CHECK(added.output.find("For 7 nodes, 3/7 is suggested") != std::string::npos);
}

TEST_CASE("Init writes the kit for its owner alone and never over another file") {
  TemporaryFolder folder;
  const Ran ran = run(folder, {"init", "--kit", folder / "kit"});
  REQUIRE(ran.exit == 0);
  struct stat stat {};
  REQUIRE(::stat((folder / "kit").c_str(), &stat) == 0);
  CHECK((stat.st_mode & 0777) == 0600);
  CHECK(ran.output.find("share this disk") != std::string::npos);
  CHECK(!std::filesystem::exists(folder / "home/default.recovery-kit.pdf"));
  REQUIRE(run(folder, {"init", "second"}).exit == 0);
  REQUIRE(::stat((folder / "home/second.recovery-kit.pdf").c_str(), &stat) == 0);
  CHECK((stat.st_mode & 0777) == 0600);
  REQUIRE(run(folder, {"init", "third", "--no-kit"}).exit == 0);
  CHECK(!std::filesystem::exists(folder / "home/third.recovery-kit.pdf"));
  CHECK(run(folder, {"init"}).exit == 4);
  CHECK(run(folder, {"init", "other", "--kit", folder / "kit"}).exit == 1);
  CHECK(!std::filesystem::exists(folder / "home/other"));
  CHECK(!std::filesystem::exists(folder / "home/other.nodes"));
}

TEST_CASE("An init that fails leaves nothing behind") {
  TemporaryFolder folder;
  std::ofstream(folder / "file") << "x";
  std::filesystem::create_directory(folder / "used");
  const auto node = [&](const std::string& name) { return "dir:" + folder / name; };
  CHECK(run(folder, {"init", "--node", node("used"), "--node", node("fresh"), "--node", node("file")}).exit == 1);
  CHECK(!std::filesystem::exists(folder / "home"));
  CHECK(!std::filesystem::exists(folder / "fresh"));
  CHECK(std::filesystem::is_empty(folder / "used"));
  CHECK(run(folder, {"init", "--node", node("used"), "--node", node("used/")}).exit != 0);
  CHECK(run(folder, {"init", "--node", "gopher:x"}).exit != 0);
  CHECK(std::filesystem::is_empty(folder / "used"));
  CHECK(!std::filesystem::exists(folder / "home"));
}

TEST_CASE("A missing or empty passphrase ends with 7") {
  TemporaryFolder folder;
  CHECK(run(folder, {"init", "--passphrase-file", folder / "none"}).exit == 7);
  std::ofstream(folder / "empty") << "\n";
  CHECK(run(folder, {"init", "--passphrase-file", folder / "empty"}).exit == 7);
  CHECK(!std::filesystem::exists(folder / "home"));
}

TEST_CASE("A mount is refused where it would hide files, is no directory, or is told nonsense") {
  TemporaryFolder folder;
  REQUIRE(run(folder, {"init"}).exit == 0);
  std::ofstream(folder / "file") << "x";
  CHECK(run(folder, {"mount", "-f", folder / "none"}).exit == 1);
  CHECK(run(folder, {"mount", "-f", folder / "file"}).exit == 2);
  std::filesystem::create_directory(folder / "full");
  std::ofstream(folder / "full/file") << "x";
  CHECK(run(folder, {"mount", "-f", folder / "full"}).errors.find("not empty") != std::string::npos);
  std::filesystem::create_directory(folder / "home/default/inner");
  CHECK(run(folder, {"mount", "-f", folder / "home/default/inner"}).exit == 1);
  CHECK(run(folder, {"mount", "-f", "-o", "bogus=1", folder / "none"}).exit == 2);
  std::ofstream(folder / "home/default.toml") << "bogus = 1\n";
  const Ran ran = run(folder, {"mount", "-f", folder / "none"});
  CHECK(ran.exit == 2);
  CHECK(ran.errors.find("default.toml:1") != std::string::npos);
}

TEST_CASE("Redundancy nobody chose lets half or more of the nodes go") {
  const auto is = [](std::size_t nodes, unsigned k, unsigned r) {
    const Redundancy redundancy = default_redundancy(nodes);
    return redundancy.k == k && default_protect_min(redundancy) == r;
  };
  CHECK(is(1, 1, 1));
  CHECK(is(2, 1, 1));
  CHECK(is(3, 1, 2));
  CHECK(is(4, 2, 3));
  CHECK(is(5, 2, 4));
  CHECK(is(6, 3, 5));
  CHECK(default_redundancy(80).k == 29);
  for (std::size_t nodes = 1; nodes <= 300; ++nodes) {
    const Redundancy redundancy = default_redundancy(nodes);
    const unsigned r = default_protect_min(redundancy);
    INFO(nodes);
    CHECK(redundancy.n == std::min<std::size_t>(nodes, 80));
    CHECK(redundancy.k >= 1);
    CHECK((nodes == 1 || redundancy.k * 2 <= redundancy.n));
    CHECK((redundancy.k <= r && r <= redundancy.n));
  }
}
