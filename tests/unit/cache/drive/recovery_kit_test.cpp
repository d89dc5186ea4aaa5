// The recovery kit's page: what is printed can be typed in again.
#include "cache/drive/recovery_kit.h"

#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <sstream>

namespace atl {
namespace {

RecoveryKit some_kit(const std::string& name, const std::vector<std::string>& urls) {
  SystemRandom random;
  const Keyring keyring = Keyring::generate(random);
  RecoveryKit kit{name, keyring.volume(), SecretKey::random(random), {}, {}};
  for (const std::string& url : urls) kit.nodes.push_back({random.id<NodeId>(), url, {}});
  kit.wrapped_keyring = keyring.wrap(kit.key, random);
  return kit;
}

bool same(const RecoveryKit& a, const RecoveryKit& b) {
  if (a.drive_name != b.drive_name || a.volume != b.volume || !a.key.equals(b.key) ||
      a.wrapped_keyring != b.wrapped_keyring)
    return false;
  return std::ranges::equal(a.nodes, b.nodes,
                            [](const NodeSpec& x, const NodeSpec& y) { return x.id == y.id && x.url == y.url; });
}

std::string spaced_otherwise(const std::string& text, const std::string& space) {
  std::istringstream stream(text);
  std::string result = space;
  for (std::string token; stream >> token;) result += token + space;
  return result;
}

}  // namespace

TEST_CASE("a kit that was printed is read back, whatever white space was lost or added") {
  CHECK(rc::check([] {
    const auto name = *rc::gen::arbitrary<std::string>();
    const auto urls = *rc::gen::container<std::vector<std::string>>(
        rc::gen::map(rc::gen::arbitrary<std::string>(), [](const std::string& path) { return "dir:/" + path; }));
    const RecoveryKit kit = some_kit(name, urls);
    const std::string text = kit_text(kit);
    const auto back = parse_kit(text);
    RC_ASSERT(back.has_value());
    RC_ASSERT(same(*back, kit));
    for (const char* space : {" ", "\r\n", "\n\n\t  "}) {
      const auto again = parse_kit(spaced_otherwise(text, space));
      RC_ASSERT(again.has_value());
      RC_ASSERT(same(*again, kit));
    }
  }));
}

TEST_CASE("the kit alone opens the drive's keyring") {
  const auto kit = parse_kit(kit_text(some_kit("default", {"dir:/mnt/a", "dir:/mnt/b"})));
  REQUIRE(kit.has_value());
  const auto keyring = Keyring::unwrap(kit->wrapped_keyring, kit->key);
  REQUIRE(keyring.has_value());
  CHECK(keyring->volume() == kit->volume);
}

TEST_CASE("the page shows the words numbered in lines of four, and each node's address and id") {
  const RecoveryKit kit = some_kit("photos", {"dir:/media/My Disk"});
  const std::string text = kit_text(kit);
  std::istringstream words(recovery_words(kit.key));
  std::string word;
  for (int number = 1; words >> word; ++number) {
    const std::size_t at = text.find(" " + std::to_string(number) + ". " + word);
    REQUIRE(at != std::string::npos);
    const std::size_t line = text.rfind('\n', at);
    CHECK((number % 4 == 1) == (text.find_first_not_of(' ', line + 1) == at + 1));
  }
  CHECK(text.find("    photos\n") != std::string::npos);
  CHECK(text.find("1. dir:/media/My%20Disk\n") != std::string::npos);
  CHECK(text.find(kit.nodes[0].id.hex().substr(0, 8)) != std::string::npos);
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) CHECK(line.size() <= 90);
}

TEST_CASE("a misspelt word on the page is named by its number") {
  const RecoveryKit kit = some_kit("default", {"dir:/mnt/a"});
  std::string text = kit_text(kit);
  const std::size_t at = text.find(" 7. ") + 4;
  text.replace(at, 2, "qq");
  const auto result = parse_kit(text);
  REQUIRE(result.error().code == Code::key);
  CHECK(result.error().what.starts_with("word 7 "));
}

TEST_CASE("a page that is cut, foreign or of a newer format is refused") {
  const std::string text = kit_text(some_kit("default", {"dir:/mnt/a", "dir:/mnt/b"}));
  const std::size_t needed = text.find("[end]") + 5;
  for (std::size_t length = 0; length < needed; ++length) {
    const auto result = parse_kit(std::string_view(text).substr(0, length));
    REQUIRE_FALSE(result.has_value());
    REQUIRE(result.error().code == Code::invalid);
  }
  CHECK(parse_kit("Dear reader").error().code == Code::invalid);
  std::string newer = text;
  newer.replace(newer.find("format 1"), 8, "format 2");
  CHECK(parse_kit(newer).error().code == Code::newer_format);
  for (const char* part : {"[drive]", "[volume]", "[words]", "[nodes]", "[keyring]"}) {
    std::string without = text;
    without.erase(without.find(part), std::string(part).size());
    const auto result = parse_kit(without);
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().what.find(part) != std::string::npos);
  }
}

}  // namespace atl
