// A recovery key as words for paper, and back.
#include <sodium.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>

#include "cache/keys/keyring.h"
#include "cache/keys/paper.h"
#include "cache/keys/recovery_word_list.h"

namespace atl {

namespace {

constexpr std::size_t word_count = 24;
constexpr std::size_t word_bits = 11;
constexpr std::size_t words_per_line = 4;
constexpr std::size_t coded_bytes = SecretKey::size + 1;  // key and checksum
static_assert(word_count * word_bits == coded_bytes * 8);
static_assert(recovery_word_list.size() == std::size_t{1} << word_bits);
static_assert(std::ranges::is_sorted(recovery_word_list));

std::uint8_t checksum(const std::uint8_t* key) {
  constexpr std::string_view domain = "atoll recovery words";
  std::array<std::uint8_t, crypto_generichash_BYTES> hash;
  crypto_generichash_state state;
  crypto_generichash_init(&state, nullptr, 0, hash.size());
  crypto_generichash_update(&state, as_bytes(domain).data(), domain.size());
  crypto_generichash_update(&state, key, SecretKey::size);
  crypto_generichash_final(&state, hash.data(), hash.size());
  const std::uint8_t result = hash[0];
  sodium_memzero(hash.data(), hash.size());
  return result;
}

/// Levenshtein's distance.
std::size_t edits_between(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

std::string_view nearest_word(std::string_view word) {
  word = word.substr(0, 32);  // what is longer resembles nothing
  return *std::ranges::min_element(recovery_word_list, {},
                                   [word](std::string_view listed) { return edits_between(word, listed); });
}

bool is_space(char c) {
  return std::isspace(static_cast<unsigned char>(c)) != 0;
}

/// The text without "12.", "12)" or "12:" in front, and without a comma or full stop behind.
std::string_view without_numbering(std::string_view token) {
  std::size_t digits = 0;
  while (digits < token.size() && std::isdigit(static_cast<unsigned char>(token[digits])) != 0) ++digits;
  if (digits > 0) {
    token.remove_prefix(digits);
    if (!token.empty() && std::string_view(".):").find(token.front()) != std::string_view::npos) token.remove_prefix(1);
  }
  while (!token.empty() && (token.back() == ',' || token.back() == '.')) token.remove_suffix(1);
  return token;
}

std::string plain_word(std::string_view token) {
  std::string word(without_numbering(token));
  std::ranges::transform(word, word.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return word;
}

/// The end of the list if it is none.
auto find_word(std::string_view word) {
  const auto found = std::ranges::lower_bound(recovery_word_list, word);
  return found != recovery_word_list.end() && *found == word ? found : recovery_word_list.end();
}

tl::unexpected<Error> unknown_word(const std::string& word, std::size_t position) {
  return fail(Code::key, "word " + std::to_string(position) + " of the recovery key, '" + word.substr(0, 32) + "', is not one of its words",
              "did you mean '" + std::string(nearest_word(word)) + "'?");
}

}  // namespace

Result<bool> check_recovery_word(std::string_view token, std::size_t position) {
  const std::string word = plain_word(token);
  if (word.empty()) return false;
  if (find_word(word) == recovery_word_list.end()) return unknown_word(word, position);
  return true;
}

std::string recovery_words(const SecretKey& key) {
  const auto bit = [&, check = checksum(key.data())](std::size_t at) {
    const std::uint8_t byte = at / 8 < SecretKey::size ? key.data()[at / 8] : check;
    return (byte >> (7 - at % 8)) & 1u;
  };
  std::string text;
  text.reserve(word_count * 9);
  for (std::size_t word = 0; word < word_count; ++word) {
    std::size_t index = 0;
    for (std::size_t i = 0; i < word_bits; ++i) index = index << 1 | bit(word * word_bits + i);
    text += recovery_word_list[index];
    text += (word + 1) % words_per_line == 0 ? '\n' : ' ';
  }
  return text;
}

Result<SecretKey> parse_recovery_words(std::string_view text) {
  std::array<std::uint8_t, coded_bytes> coded{};
  std::size_t words = 0;
  std::size_t at = 0;
  while (true) {
    while (at < text.size() && is_space(text[at])) ++at;
    if (at == text.size()) break;
    const std::size_t start = at;
    while (at < text.size() && !is_space(text[at])) ++at;
    std::string word = plain_word(text.substr(start, at - start));
    if (word.empty()) continue;
    if (++words > word_count) continue;
    const auto found = find_word(word);
    if (found == recovery_word_list.end()) return unknown_word(word, words);
    const auto index = static_cast<std::size_t>(found - recovery_word_list.begin());
    for (std::size_t i = 0; i < word_bits; ++i) {
      const std::size_t bit = (words - 1) * word_bits + i;
      coded[bit / 8] =
          static_cast<std::uint8_t>(coded[bit / 8] | ((index >> (word_bits - 1 - i) & 1) << (7 - bit % 8)));
    }
    sodium_memzero(word.data(), word.size());
  }
  if (words != word_count)
    return fail(Code::key,
                "a recovery key has " + std::to_string(word_count) + " words; here are " + std::to_string(words),
                "type all words in the order of their numbers");
  SecretKey key = SecretKey::from(ByteView(coded).first(SecretKey::size));
  const bool fits = checksum(key.data()) == coded.back();
  sodium_memzero(coded.data(), coded.size());
  if (!fits)
    return fail(Code::key, "the words are all known but do not fit together",
                "one is wrong or two have changed places; compare them with the paper");
  return key;
}

}  // namespace atl
