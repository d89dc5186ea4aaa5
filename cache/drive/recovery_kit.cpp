// Reading the recovery kit.
#include "cache/drive/recovery_kit.h"

#include <sodium.h>

#include <charconv>
#include <functional>
#include <map>
#include <optional>

#include "cache/keys/paper.h"

namespace atl {

namespace {

constexpr unsigned format_number = 2;

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

std::optional<Bytes> from_armor(const std::string& armor) {
  Bytes bytes(armor.size() / 4 * 3 + 3);
  std::size_t count = 0;
  if (sodium_base642bin(bytes.data(), bytes.size(), armor.data(), armor.size(), nullptr, &count, nullptr, sodium_base64_VARIANT_ORIGINAL) != 0)
    return std::nullopt;
  bytes.resize(count);
  return bytes;
}

/// Lines of digits that end with their checks, run together.
Result<Bytes> read_checked_lines(std::string_view section, const std::function<std::string(std::size_t)>& name) {
  Bytes bytes;
  std::size_t number = 1;
  std::string line;
  Tokens tokens(section);
  for (std::string_view token = tokens.next(); !token.empty(); token = tokens.next()) {
    line += token;
    if (token.find('*') == std::string_view::npos) continue;
    auto part = read_checked_line(line, name(number));
    if (!part) return fail(part.error());
    bytes.insert(bytes.end(), part->begin(), part->end());
    line.clear();
    ++number;
  }
  if (!line.empty()) return fail(read_checked_line(line, name(number)).error());
  return bytes;
}

tl::unexpected<Error> malformed(const std::string& what) {
  return fail(Code::invalid, "the recovery kit " + what,
              "compare it with the paper; every line between the title and [end] is needed");
}

Result<std::vector<NodeSpec>> parse_nodes(std::string_view section, bool checked) {
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
    for (token = tokens.next(); !token.empty() && !is_number(token); token = tokens.next()) {
      digits += token;
      digits += ' ';
    }
    std::string plain;
    if (!checked) {
      plain = without_space(digits);
    } else {
      auto bytes = read_checked_lines(digits, [](std::size_t) { return std::string("node id"); });
      if (!bytes) return fail(Code::invalid, bytes.error().what + " (" + place + ")", bytes.error().hint);
      plain = to_hex(*bytes);
    }
    const auto id = NodeId::from_hex(plain);
    if (!id) return malformed("has a malformed id for " + place);
    nodes.push_back({*id, *url, {}});
  }
  return nodes;
}

/// The words in the order of their numbers, where each has one: text taken from a PDF may go by columns.
std::string in_order(std::string_view section) {
  std::map<unsigned, std::string> numbered;
  Tokens tokens(section);
  for (std::string_view token = tokens.next(); !token.empty(); token = tokens.next()) {
    unsigned number = 0;
    const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), number);
    std::string_view word = token.substr(static_cast<std::size_t>(end - token.data()));
    if (error != std::errc() || word.empty() || std::string_view(".):").find(word.front()) == std::string_view::npos)
      return std::string(section);
    word.remove_prefix(1);
    if (word.empty()) word = tokens.next();
    if (!numbered.emplace(number, word).second) return std::string(section);
  }
  std::string text;
  for (const auto& [number, word] : numbered) text += std::to_string(number) + ". " + word + "\n";
  return text;
}

/// What `atoll` wrote into a PDF of a kit for itself; absent if this is none.
std::optional<std::string> text_in_pdf(std::string_view pdf) {
  constexpr std::string_view mark = "/Keywords (";
  const std::size_t at = pdf.find(mark);
  if (at == std::string_view::npos) return std::nullopt;
  return std::string(pdf.substr(at + mark.size(), pdf.find(')', at) - at - mark.size()));
}

}  // namespace

Result<RecoveryKit> parse_kit(std::string_view text) {
  std::string unpacked;
  if (text.starts_with("%PDF-")) {
    auto found = text_in_pdf(text);
    if (!found)
      return fail(Code::invalid, "this PDF is none that atoll made",
                  "if it was made from a kit, take its text out: pdftotext FILE - | atoll recover --kit -");
    unpacked = std::move(*found);
    text = unpacked;
  }
  Tokens tokens(text);
  // Whatever a mail program or an editor put in front is skipped.
  bool titled = false;
  for (std::string_view before, token = tokens.next(); !token.empty(); before = token, token = tokens.next())
    if (before == "kit," && token == "format") {
      titled = true;
      break;
    }
  if (!titled)
    return fail(Code::invalid, "this text is no atoll recovery kit", "it begins with \"Atoll recovery kit, format 2\"");
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
  std::string volume_digits = without_space(*volume);
  if (format >= 2) {
    auto bytes = read_checked_line(*volume, "volume");
    if (!bytes) return fail(bytes.error());
    volume_digits = to_hex(*bytes);
  }
  const auto volume_id = VolumeId::from_hex(volume_digits);
  if (!volume_id) return malformed("has a malformed volume id");
  kit.volume = *volume_id;
  auto key = parse_recovery_words(in_order(*words));
  if (!key) return fail(key.error());
  kit.key = std::move(*key);
  auto specs = parse_nodes(*nodes, format >= 2);
  if (!specs) return fail(specs.error());
  kit.nodes = std::move(*specs);
  Bytes paper;
  if (format >= 2) {
    std::string lines;  // without their numbers
    Tokens digits(*keyring);
    for (std::string_view token = digits.next(); !token.empty(); token = digits.next())
      if (!is_number(token)) lines.append(token).append(" ");
    auto bytes = read_checked_lines(lines, keyring_line_name);
    if (!bytes) return fail(bytes.error());
    paper = std::move(*bytes);
  } else {
    auto bytes = from_armor(without_space(*keyring));
    if (!bytes || bytes->size() < wrapped_keyring_bytes_min) return malformed("has a malformed keyring");
    paper = keyring_for_paper(*bytes);
  }
  auto wrapped = keyring_from_paper(paper, kit.volume, kit.key);
  if (!wrapped) return malformed("has a malformed keyring: " + wrapped.error().what);
  kit.wrapped_keyring = std::move(*wrapped);
  return kit;
}

}  // namespace atl
