// Laws of keys: what is wrapped unwraps with its key alone, words bring a key back, and a slip of the pen is named.
#include "cache/keys/keyring.h"

#include <rapidcheck.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <sstream>

#include "cache/keys/recovery_word_list.h"

namespace atl {
namespace {

SecretKey some_key() {
  SystemRandom random;
  return SecretKey::random(random);
}

bool same_keys(const Keyring& a, const Keyring& b) {
  if (a.volume() != b.volume() || a.current() != b.current()) return false;
  for (std::uint32_t epoch = 1; epoch <= a.current().value; ++epoch)
    if (!a.derive(KeyEpoch(epoch), KeyPurpose::content)->equals(*b.derive(KeyEpoch(epoch), KeyPurpose::content)))
      return false;
  return true;
}

std::size_t edits_between(std::string_view a, std::string_view b) {
  if (a.empty() || b.empty()) return a.size() + b.size();
  if (a[0] == b[0]) return edits_between(a.substr(1), b.substr(1));
  return 1 + std::min({edits_between(a.substr(1), b), edits_between(a, b.substr(1)),
                       edits_between(a.substr(1), b.substr(1))});
}

bool at_most_one_edit(std::string_view a, std::string_view b) {
  const std::size_t difference = a.size() > b.size() ? a.size() - b.size() : b.size() - a.size();
  if (difference > 1) return false;
  std::size_t same = 0;
  while (same < std::min(a.size(), b.size()) && a[same] == b[same]) ++same;
  const std::string_view rest_a = a.substr(same);
  const std::string_view rest_b = b.substr(same);
  if (rest_a.empty() || rest_b.empty()) return true;
  return rest_a.substr(1) == rest_b.substr(1) || rest_a.substr(1) == rest_b || rest_a == rest_b.substr(1);
}

std::vector<std::string> split(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += word + " ";
  return text;
}

}  // namespace

TEST_CASE("a wrapped keyring unwraps to the same keys, whatever its number of epochs") {
  SystemRandom random;
  CHECK(rc::check([&] {
    Keyring keyring = Keyring::generate(random);
    const int rotations = *rc::gen::inRange(0, 6);
    for (int i = 0; i < rotations; ++i) keyring = keyring.rotated(random);
    const SecretKey wrapping = some_key();
    const auto back = Keyring::unwrap(keyring.wrap(wrapping, random), wrapping);
    RC_ASSERT(back.has_value());
    RC_ASSERT(same_keys(*back, keyring));
  }));
}

TEST_CASE("a wrapped keyring with any bit flipped is refused") {
  SystemRandom random;
  const SecretKey wrapping = some_key();
  const Bytes wrapped = Keyring::generate(random).wrap(wrapping, random);
  for (std::size_t bit = 0; bit < wrapped.size() * 8; ++bit) {
    Bytes changed = wrapped;
    changed[bit / 8] = static_cast<std::uint8_t>(changed[bit / 8] ^ (1u << bit % 8));
    const auto result = Keyring::unwrap(changed, wrapping);
    REQUIRE_FALSE(result.has_value());
    REQUIRE((result.error().code == Code::corrupt || result.error().code == Code::newer_format));
  }
  for (std::size_t length = 0; length < wrapped.size(); ++length)
    REQUIRE(Keyring::unwrap(ByteView(wrapped).first(length), wrapping).error().code == Code::corrupt);
}

TEST_CASE("a wrong key is told from a damaged keyring") {
  SystemRandom random;
  const Bytes wrapped = Keyring::generate(random).wrap(some_key(), random);
  CHECK(Keyring::unwrap(wrapped, some_key()).error().code == Code::key);
}

TEST_CASE("a keyring of a newer format is refused by its number") {
  SystemRandom random;
  const SecretKey wrapping = some_key();
  Bytes wrapped = Keyring::generate(random).wrap(wrapping, random);
  wrapped[8] = 2;
  const auto result = Keyring::unwrap(wrapped, wrapping);
  REQUIRE(result.error().code == Code::newer_format);
  CHECK(result.error().what.find("format 2") != std::string::npos);
}

TEST_CASE("each purpose and epoch has a key of its own, and rotation keeps the old ones") {
  SystemRandom random;
  const Keyring first = Keyring::generate(random);
  const Keyring second = first.rotated(random);
  CHECK(first.current() == KeyEpoch(1));
  CHECK(second.current() == KeyEpoch(2));
  CHECK(second.has(KeyEpoch(1)));
  CHECK_FALSE(second.has(KeyEpoch(0)));
  CHECK_FALSE(second.has(KeyEpoch(3)));
  CHECK(second.volume() == first.volume());
  std::set<Bytes> keys;
  for (std::uint64_t purpose = 1; purpose <= 7; ++purpose)
    for (std::uint32_t epoch = 1; epoch <= 2; ++epoch) {
      const auto key = second.derive(KeyEpoch(epoch), static_cast<KeyPurpose>(purpose));
      keys.insert(Bytes(key->view().begin(), key->view().end()));
    }
  CHECK(keys.size() == 14);
  CHECK(first.derive(KeyEpoch(1), KeyPurpose::journal)->equals(*second.derive(KeyEpoch(1), KeyPurpose::journal)));
  CHECK(first.derive(KeyEpoch(2), KeyPurpose::journal).error().code == Code::key);
}

TEST_CASE("a passphrase gives the same key again, another gives another, and weak parameters are refused") {
  SystemRandom random;
  const auto parameters = PassphraseParameters::moderate(random);
  const auto key = key_from_passphrase("correct horse", parameters);
  REQUIRE(key.has_value());
  CHECK(key->equals(*key_from_passphrase("correct horse", parameters)));
  CHECK_FALSE(key->equals(*key_from_passphrase("correct horsf", parameters)));
  auto weak = parameters;
  weak.operations -= 1;
  CHECK(key_from_passphrase("correct horse", weak).error().code == Code::key);
  weak = parameters;
  weak.memory_bytes -= 1024;
  CHECK(key_from_passphrase("correct horse", weak).error().code == Code::key);
  weak.memory_bytes = ~std::uint64_t{0};
  CHECK(key_from_passphrase("correct horse", weak).error().code == Code::key);
  CHECK(key_from_passphrase("", parameters).error().code == Code::key);
}

TEST_CASE("recovery words bring the key back, however they are laid out") {
  CHECK(rc::check([] {
    const SecretKey key = some_key();
    const std::string words = recovery_words(key);
    RC_ASSERT(parse_recovery_words(words)->equals(key));
    RC_ASSERT(std::ranges::count(words, '\n') == 6);
    std::string numbered;
    int number = 0;
    const char* const style = *rc::gen::element(". ", ") ", ".", ":\t");
    for (std::string word : split(words)) {
      word[0] = static_cast<char>(std::toupper(word[0]));
      ++number;
      numbered += std::to_string(number) + style + word + (number % 5 == 0 ? "\r\n" : ",   ");
    }
    RC_ASSERT(parse_recovery_words(numbered)->equals(key));
  }));
}

TEST_CASE("a slip in one letter of one word is named by its place, with a word one letter away") {
  CHECK(rc::check([] {
    std::vector<std::string> words = split(recovery_words(some_key()));
    const auto place = *rc::gen::inRange<std::size_t>(0, 24);
    std::string& word = words[place];
    const std::string right = word;
    const auto at = *rc::gen::inRange<std::size_t>(0, word.size());
    const char letter = *rc::gen::inRange('a', static_cast<char>('z' + 1));
    switch (*rc::gen::inRange(0, 3)) {
      case 0:
        word[at] = letter == word[at] ? (letter == 'z' ? 'a' : static_cast<char>(letter + 1)) : letter;
        break;
      case 1:
        word.insert(at, 1, letter);
        break;
      default:
        word.erase(at, 1);
        break;
    }
    const std::string wrong = word;
    const auto result = parse_recovery_words(join(words));
    RC_ASSERT_FALSE(result.has_value());
    RC_ASSERT(result.error().code == Code::key);
    RC_ASSERT(result.error().what.starts_with("word " + std::to_string(place + 1) + " "));
    const std::string hint = result.error().hint;
    const std::string suggested = hint.substr(hint.find('\'') + 1, hint.rfind('\'') - hint.find('\'') - 1);
    RC_ASSERT(edits_between(suggested, wrong) == 1u);
  }));
}

TEST_CASE("known words in a wrong place do not fit together, but for one time in 256") {
  SystemRandom random;
  const std::vector<std::string> words = split(recovery_words(SecretKey::from(Bytes(32, 0x3c))));
  int accepted = 0;
  int tried = 0;
  for (std::size_t place = 0; place < 24; ++place)
    for (std::size_t other = 0; other < 2048; other += 16, ++tried) {
      std::vector<std::string> changed = words;
      if (changed[place] == recovery_word_list[other]) continue;
      changed[place] = recovery_word_list[other];
      const auto result = parse_recovery_words(join(changed));
      if (result)
        ++accepted;
      else
        REQUIRE(result.error().code == Code::key);
    }
  CHECK(tried == 24 * 128);
  CHECK(accepted < tried / 100);  // the key and the list are fixed: so is the count, 12 expected
}

TEST_CASE("too few and too many words are refused by their number") {
  std::vector<std::string> words = split(recovery_words(some_key()));
  words.push_back(words.front());
  CHECK(parse_recovery_words(join(words)).error().what.find("25") != std::string::npos);
  words.resize(23);
  CHECK(parse_recovery_words(join(words)).error().what.find("23") != std::string::npos);
  CHECK(parse_recovery_words("").error().code == Code::key);
  CHECK(parse_recovery_words(" \n 12. ").error().code == Code::key);
}

TEST_CASE("the word list is easy to tell apart: short, known by four letters, no two within one letter") {
  std::set<std::string_view> beginnings;
  for (const std::string_view word : recovery_word_list) {
    REQUIRE(word.size() >= 3);
    REQUIRE(word.size() <= 8);
    REQUIRE(std::ranges::all_of(word, [](char c) { return c >= 'a' && c <= 'z'; }));
    REQUIRE(beginnings.insert(word.substr(0, 4)).second);
  }
  std::size_t alike = 0;
  for (std::size_t i = 0; i < recovery_word_list.size(); ++i)
    for (std::size_t j = i + 1; j < recovery_word_list.size(); ++j)
      if (at_most_one_edit(recovery_word_list[i], recovery_word_list[j])) ++alike;
  CHECK(alike == 0);
}

}  // namespace atl
