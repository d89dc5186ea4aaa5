// The recovery kit's page: what is printed can be typed in again.
#include "cache/drive/recovery_kit.h"

#include <rapidcheck.h>
#include <sodium.h>

#include <catch2/catch.hpp>
#include <sstream>

#include "cache/keys/paper.h"

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
  CHECK(text.find(kit.nodes[0].id.hex().substr(0, 4)) != std::string::npos);
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
  newer.replace(newer.find("format 2"), 8, "format 3");
  CHECK(parse_kit(newer).error().code == Code::newer_format);
  for (const char* part : {"[drive]", "[volume]", "[words]", "[nodes]", "[keyring]"}) {
    std::string without = text;
    without.erase(without.find(part), std::string(part).size());
    const auto result = parse_kit(without);
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().what.find(part) != std::string::npos);
  }
}

TEST_CASE("what a QR code holds is the same kit in fewer letters") {
  const RecoveryKit kit = some_kit("my drive", {"dir:/mnt/a", "dir:/mnt/b b"});
  const std::string code = kit_code_text(kit);
  const auto back = parse_kit(code);
  REQUIRE(back.has_value());
  CHECK(same(*back, kit));
  CHECK(code.size() * 2 < kit_text(kit).size());
}

TEST_CASE("each line of digits on the page tells which one was typed wrongly") {
  const RecoveryKit kit = some_kit("default", {"dir:/mnt/a", "dir:/mnt/b"});
  const std::string text = kit_text(kit);
  const auto with_slip_after = [&](const std::string& mark) {
    std::string wrong = text;
    const std::size_t at = wrong.find(mark) + mark.size() + 2;
    wrong[at] = wrong[at] == '0' ? '1' : '0';
    const auto result = parse_kit(wrong);
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().code == Code::invalid);
    return result.error().what;
  };
  CHECK(with_slip_after("[volume]\n    ").find("volume") != std::string::npos);
  CHECK(with_slip_after("2. dir:/mnt/b\n       id ").find("node 2") != std::string::npos);
  CHECK(with_slip_after("[keyring]\n    1. ").find("keyring line 1") != std::string::npos);
  const std::size_t second = text.find("    2. ", text.find("[keyring]"));
  CHECK(with_slip_after(text.substr(second, 20)).find("keyring line 2") != std::string::npos);
  // Two lines in each other's place: each is whole, and neither is where it belongs.
  const auto lines = checked_lines(keyring_for_paper(kit.wrapped_keyring), "keyring");
  CHECK_FALSE(read_checked_line(lines[1], keyring_line_name(1)));
  CHECK(read_checked_line(lines[1], keyring_line_name(2)));
}

TEST_CASE("words that came in another order are put in that of their numbers") {
  const RecoveryKit kit = some_kit("default", {"dir:/mnt/a"});
  std::string text = kit_text(kit);
  const std::size_t from = text.find("[words]") + 7;
  const std::size_t to = text.find("[nodes]");
  std::istringstream stream(text.substr(from, to - from));
  std::vector<std::string> entries;
  for (std::string number, word; stream >> number >> word;) entries.insert(entries.begin(), number + " " + word);
  REQUIRE(entries.size() == 24);
  std::string backwards = "\n";
  for (const std::string& entry : entries) backwards += entry + "\n";
  text.replace(from, to - from, backwards);
  const auto back = parse_kit(text);
  REQUIRE(back.has_value());
  CHECK(same(*back, kit));
}

TEST_CASE("a page of the first format, which had its keyring in base64, is still read") {
  const RecoveryKit kit = some_kit("default", {"dir:/mnt/a"});
  std::string base64(sodium_base64_ENCODED_LEN(kit.wrapped_keyring.size(), sodium_base64_VARIANT_ORIGINAL), '\0');
  sodium_bin2base64(base64.data(), base64.size(), kit.wrapped_keyring.data(), kit.wrapped_keyring.size(), sodium_base64_VARIANT_ORIGINAL);
  base64.pop_back();
  const std::string text = "Atoll recovery kit, format 1\n[drive] default [volume] " + kit.volume.hex() + " [words] " + recovery_words(kit.key) +
                           "[nodes] 1. dir:/mnt/a id " + kit.nodes[0].id.hex() + " [keyring] " + base64 + " [end]\n";
  const auto back = parse_kit(text);
  REQUIRE(back.has_value());
  CHECK(same(*back, kit));
}

TEST_CASE("a page names enough nodes that n - k of them may be gone, spread over labels, and none that is on its way out") {
  SystemRandom random;
  std::vector<NodeSpec> all;
  for (int i = 0; i < 30; ++i) {
    NodeSpec node{random.id<NodeId>(), "dir:/mnt/" + std::to_string(i), {{"country", std::to_string(i % 3)}}};
    node.draining = i < 6;
    all.push_back(node);
  }
  const auto few = nodes_for_kit(all, {3, 6}, 12, random);
  CHECK(few.size() == 6);
  CHECK(nodes_for_kit(all, {4, 12}, 12, random).size() == 9);
  CHECK(nodes_for_kit(all, {4, 80}, 12, random).size() == 12);
  std::map<std::string, int> countries;
  for (const NodeSpec& node : few) {
    CHECK_FALSE(node.draining);
    ++countries[node.labels.at("country")];
  }
  CHECK(countries.size() == 3);
  CHECK(nodes_for_kit({all.begin(), all.begin() + 8}, {3, 6}, 12, random).size() == 6);  // where there are no others
  CHECK(nodes_for_kit({all.begin() + 6, all.begin() + 8}, {1, 2}, 12, random).size() == 2);
}

}  // namespace atl
