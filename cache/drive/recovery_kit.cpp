#include "cache/drive/recovery_kit.h"

#include <sodium.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <optional>
#include <sstream>

namespace atl {

namespace {

constexpr unsigned format_number = 1;
constexpr std::size_t armor_columns = 64;
constexpr std::size_t words_per_line = 4;

/// Printable ASCII as it is, but for '%'; every other byte as %XX. What was an empty text becomes "%".
std::string to_token(std::string_view text) {
  if (text.empty()) return "%";
  std::string token;
  for (const char c : text) {
    if (c > ' ' && c <= '~' && c != '%') {
      token += c;
    } else {
      const auto byte = static_cast<std::uint8_t>(c);
      token += '%' + to_hex({&byte, 1});
    }
  }
  return token;
}

std::optional<std::string> from_token(std::string_view token) {
  if (token == "%") return std::string();
  std::string text;
  for (std::size_t i = 0; i < token.size(); ++i) {
    if (token[i] != '%') {
      text += token[i];
      continue;
    }
    const auto byte = from_hex(token.substr(i + 1, 2));
    if (!byte || byte->size() != 1) return std::nullopt;
    text += static_cast<char>(byte->front());
    i += 2;
  }
  return text;
}

/// "0123 4567 89ab ...": easier to read out and to compare.
std::string grouped(const std::string& digits, std::size_t group) {
  std::string text;
  for (std::size_t i = 0; i < digits.size(); i += group) text += (i == 0 ? "" : " ") + digits.substr(i, group);
  return text;
}

std::string armored(ByteView bytes) {
  std::string text(sodium_base64_ENCODED_LEN(bytes.size(), sodium_base64_VARIANT_ORIGINAL), '\0');
  sodium_bin2base64(text.data(), text.size(), bytes.data(), bytes.size(), sodium_base64_VARIANT_ORIGINAL);
  text.pop_back();  // the terminating zero
  std::string lines;
  for (std::size_t i = 0; i < text.size(); i += armor_columns) lines += "    " + text.substr(i, armor_columns) + "\n";
  return lines;
}

std::string numbered_words(const SecretKey& key) {
  std::istringstream words(recovery_words(key));
  std::string text;
  std::string word;
  for (std::size_t number = 1; words >> word; ++number) {
    char place[8];
    std::snprintf(place, sizeof place, "%3zu. ", number);
    if (number % words_per_line == 1) text += "   ";
    text += place + word;
    text += number % words_per_line == 0 ? "\n" : std::string(10 - std::min<std::size_t>(word.size(), 9), ' ');
  }
  return text;
}

/// A text's tokens, taken from the front; sections end at marker tokens.
class Tokens {
 public:
  explicit Tokens(std::string_view text) : rest_(text) {}

  /// Empty at the end.
  std::string_view next() {
    const std::size_t start = rest_.find_first_not_of(spaces);
    if (start == std::string_view::npos) {
      rest_ = {};
      return {};
    }
    rest_.remove_prefix(start);
    const std::string_view token = rest_.substr(0, rest_.find_first_of(spaces));
    rest_.remove_prefix(token.size());
    return token;
  }

  /// What stands before `marker`, which is taken too; absent if it does not come.
  std::optional<std::string_view> until(std::string_view marker) {
    const std::string_view from = rest_;
    while (true) {
      const std::string_view token = next();
      if (token.empty()) return std::nullopt;
      if (token == marker) return from.substr(0, static_cast<std::size_t>(token.data() - from.data()));
    }
  }

 private:
  static constexpr std::string_view spaces = " \t\r\n\v\f";
  std::string_view rest_;
};

std::string without_space(std::string_view text) {
  Tokens tokens(text);
  std::string joined;
  for (std::string_view token = tokens.next(); !token.empty(); token = tokens.next()) joined += token;
  return joined;
}

bool is_number(std::string_view token) {
  return token.size() >= 2 && token.back() == '.' && token.find_first_not_of("0123456789") == token.size() - 1;
}

tl::unexpected<Error> malformed(const std::string& what) {
  return fail(Code::invalid, "the recovery kit " + what,
              "compare it with the paper; every line between the title and [end] is needed");
}

Result<std::vector<NodeSpec>> parse_nodes(std::string_view section) {
  std::vector<NodeSpec> nodes;
  Tokens tokens(section);
  std::string_view token = tokens.next();
  while (!token.empty()) {
    const std::string place = "node " + std::to_string(nodes.size() + 1);
    if (!is_number(token)) return malformed("is unclear at " + place + ": a number is expected there");
    const auto url = from_token(tokens.next());
    if (!url || url->empty()) return malformed("has no readable address for " + place);
    if (tokens.next() != "id") return malformed("has no id for " + place);
    std::string digits;
    for (token = tokens.next(); !token.empty() && !is_number(token); token = tokens.next()) digits += token;
    const auto id = NodeId::from_hex(digits);
    if (!id) return malformed("has a malformed id for " + place);
    nodes.push_back({*id, *url, {}});
  }
  return nodes;
}

}  // namespace

std::string kit_text(const RecoveryKit& kit) {
  std::string text;
  text += "Atoll recovery kit, format " + std::to_string(format_number) + "\n\n";
  text +=
      "KEEP THIS PAGE SECRET, AND KEEP IT SAFE.\n\n"
      "It opens the drive named below. Whoever has this page can read everything that was\n"
      "saved there, and nobody can bring the drive back without it once this computer is\n"
      "lost. No company and no person can replace it.\n\n"
      "What to do with it: print it or write it down, keep it away from this computer (a\n"
      "second copy in another building is wise), then delete the file.\n\n"
      "When to use it: the computer is gone, its disk is broken, or the passphrase is\n"
      "forgotten. The key on this page opens the drive's folder on a computer that still has\n"
      "it. Bringing the drive back from the nodes alone comes with a later version of atoll;\n"
      "this page holds all that it will ask for. Spaces and line breaks do not matter; the\n"
      "words do, in the order of their numbers.\n\n";
  text += "[drive]\n    " + to_token(kit.drive_name) + "\n\n";
  text += "[volume]\n    " + grouped(kit.volume.hex(), 4) + "\n\n";
  text += "[words]\n" + numbered_words(kit.key) + "\n";
  text += "[nodes]\n";
  for (std::size_t i = 0; i < kit.nodes.size(); ++i) {
    text += "    " + std::to_string(i + 1) + ". " + to_token(kit.nodes[i].url) + "\n";
    text += "       id " + grouped(kit.nodes[i].id.hex(), 8) + "\n";
  }
  text += "\n[keyring]\n" + armored(kit.wrapped_keyring) + "\n[end]\n";
  return text;
}

Result<RecoveryKit> parse_kit(std::string_view text) {
  Tokens tokens(text);
  // Whatever a mail program or an editor put in front is skipped.
  bool titled = false;
  for (std::string_view before, token = tokens.next(); !token.empty(); before = token, token = tokens.next())
    if (before == "kit," && token == "format") {
      titled = true;
      break;
    }
  if (!titled)
    return fail(Code::invalid, "this text is no atoll recovery kit", "it begins with \"Atoll recovery kit, format 1\"");
  const std::string_view format_text = tokens.next();
  unsigned format = 0;
  const auto [end, error] = std::from_chars(format_text.data(), format_text.data() + format_text.size(), format);
  if (error != std::errc() || end != format_text.data() + format_text.size() || format == 0)
    return malformed("does not name its format");
  if (format > format_number)
    return fail(Code::newer_format,
                "the recovery kit has format " + std::to_string(format) + "; this version reads up to " +
                    std::to_string(format_number),
                "use a newer version of atoll");

  if (!tokens.until("[drive]")) return malformed("has no part [drive]");
  const auto name = tokens.until("[volume]");
  if (!name) return malformed("has no part [volume]");
  const auto volume = tokens.until("[words]");
  if (!volume) return malformed("has no part [words]");
  const auto words = tokens.until("[nodes]");
  if (!words) return malformed("has no part [nodes]");
  const auto nodes = tokens.until("[keyring]");
  if (!nodes) return malformed("has no part [keyring]");
  const auto keyring = tokens.until("[end]");
  if (!keyring) return malformed("does not go on to its [end]");

  RecoveryKit kit;
  const auto drive_name = from_token(without_space(*name));
  if (!drive_name) return malformed("has a malformed drive name");
  kit.drive_name = *drive_name;
  const auto volume_id = VolumeId::from_hex(without_space(*volume));
  if (!volume_id) return malformed("has a malformed volume id");
  kit.volume = *volume_id;
  auto key = parse_recovery_words(*words);
  if (!key) return fail(key.error());
  kit.key = std::move(*key);
  auto specs = parse_nodes(*nodes);
  if (!specs) return fail(specs.error());
  kit.nodes = std::move(*specs);
  const std::string armor = without_space(*keyring);
  kit.wrapped_keyring.resize(armor.size() / 4 * 3 + 3);
  std::size_t count = 0;
  if (sodium_base642bin(kit.wrapped_keyring.data(), kit.wrapped_keyring.size(), armor.data(), armor.size(), nullptr,
                        &count, nullptr, sodium_base64_VARIANT_ORIGINAL) != 0)
    return malformed("has a malformed keyring");
  kit.wrapped_keyring.resize(count);
  return kit;
}

}  // namespace atl
