// Writing the recovery kit.
#include <sodium.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <set>
#include <sstream>

#include "cache/drive/recovery_kit.h"
#include "cache/keys/paper.h"
#include "engine/placement/placement.h"

namespace atl {

namespace {

constexpr unsigned format_number = 2;
constexpr std::size_t line_bytes = 16;
constexpr std::size_t words_per_line = 4;
/// So many entries stand on a page even where fewer would do: nodes come and go, and the page stays.
constexpr std::size_t nodes_least = 6;

/// Printable ASCII as it is, but for '%' and what a PDF's strings give another meaning; every other byte as %XX. What was an empty text becomes "%".
std::string to_token(std::string_view text) {
  if (text.empty()) return "%";
  std::string token;
  for (const char c : text) {
    if (c > ' ' && c <= '~' && std::string_view("%()\\").find(c) == std::string_view::npos) {
      token += c;
    } else {
      const auto byte = static_cast<std::uint8_t>(c);
      token += '%' + to_hex({&byte, 1});
    }
  }
  return token;
}

/// "0123 4567 89ab ...": easier to read out and to compare.
std::string grouped(const std::string& digits) {
  std::string text;
  for (std::size_t i = 0; i < digits.size(); i += 4) text += (i == 0 ? "" : " ") + digits.substr(i, 4);
  return text;
}

/// No defence against anyone: it finds what was misread.
std::string check_of(ByteView bytes, std::string_view what) {
  constexpr std::string_view domain = "atoll kit line";
  std::array<std::uint8_t, crypto_generichash_BYTES> hash;
  crypto_generichash_state state;
  crypto_generichash_init(&state, nullptr, 0, hash.size());
  for (const std::string_view part : {domain, std::string_view("\0", 1), what, std::string_view("\0", 1)})
    crypto_generichash_update(&state, as_bytes(part).data(), part.size());
  crypto_generichash_update(&state, bytes.data(), bytes.size());
  crypto_generichash_final(&state, hash.data(), hash.size());
  return to_hex(ByteView(hash).first(2));
}

std::vector<std::string> words_of(const SecretKey& key) {
  std::istringstream stream(recovery_words(key));
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

}  // namespace

std::vector<std::string> checked_lines(ByteView bytes, std::string_view what) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < bytes.size(); at += line_bytes) {
    const ByteView part = bytes.subspan(at, std::min(line_bytes, bytes.size() - at));
    const std::string name = what == "keyring" ? keyring_line_name(lines.size() + 1) : std::string(what);
    lines.push_back(grouped(to_hex(part)) + " *" + check_of(part, name));
  }
  return lines;
}

std::string keyring_line_name(std::size_t number) { return "keyring line " + std::to_string(number); }

Result<Bytes> read_checked_line(std::string_view line, std::string_view what) {
  const auto wrong = [&](const std::string& how) {
    return fail(Code::invalid, "the recovery kit's " + std::string(what) + " " + how, "compare this line with the paper, digit by digit");
  };
  std::string digits;
  for (const char c : line)
    if (std::string_view(" \t\r\n\v\f").find(c) == std::string_view::npos) digits += c;
  const std::size_t star = digits.find('*');
  if (star == std::string::npos) return wrong("has no check, the group that begins with *");
  auto bytes = from_hex(std::string_view(digits).substr(0, star));
  if (!bytes || bytes->empty()) return wrong("has something in it that is no digit of 0-9 and a-f, or one digit too few or too many");
  std::string check = digits.substr(star + 1);
  std::ranges::transform(check, check.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (check != check_of(*bytes, what)) return wrong("was typed wrongly: its check does not fit");
  return bytes;
}

KitPieces kit_pieces(const RecoveryKit& kit) {
  KitPieces pieces;
  pieces.title = "Atoll recovery kit, format " + std::to_string(format_number);
  pieces.drive = to_token(kit.drive_name);
  pieces.volume = checked_lines(kit.volume.view(), "volume").front();
  pieces.words = words_of(kit.key);
  for (const NodeSpec& node : kit.nodes) pieces.nodes.push_back({to_token(node.url), checked_lines(node.id.view(), "node id")});
  pieces.keyring = checked_lines(keyring_for_paper(kit.wrapped_keyring), "keyring");
  return pieces;
}

std::string kit_text(const RecoveryKit& kit) {
  const KitPieces pieces = kit_pieces(kit);
  std::string text = pieces.title + "\n\n";
  text +=
      "KEEP THIS PAGE SECRET, AND KEEP IT SAFE.\n\n"
      "It opens the drive named below. Whoever has this page can read everything that was\n"
      "saved there, and nobody can bring the drive back without it once this computer is\n"
      "lost. No company and no person can replace it.\n\n"
      "What to do with it: print it or write it down, keep it away from this computer (a\n"
      "second copy in another building is wise), then delete the file.\n\n"
      "When to use it: the computer is gone, its disk is broken, or the passphrase is\n"
      "forgotten. Install atoll on any computer that can reach some of the nodes, and run\n"
      "    atoll recover --kit FILE [MOUNTPOINT]\n"
      "with this page in FILE, or with --kit - to type what stands below. Spaces and line\n"
      "breaks do not matter; a mistake is pointed out. One node suffices. A node that moved\n"
      "is given as --node ID=ADDRESS.\n\n";
  text += "[drive]\n    " + pieces.drive + "\n\n";
  text += "[volume]\n    " + pieces.volume + "\n\n";
  text += "[words]\n";
  for (std::size_t i = 0; i < pieces.words.size(); ++i) {
    const std::string number = std::to_string(i + 1);
    const std::string place = std::string(number.size() < 2 ? 2 : 1, ' ') + number + ". ";
    const std::string& word = pieces.words[i];
    if (i % words_per_line == 0) text += "   ";
    text += place + word;
    text += (i + 1) % words_per_line == 0 ? "\n" : std::string(10 - std::min<std::size_t>(word.size(), 9), ' ');
  }
  text += "\n[nodes]\n";
  for (std::size_t i = 0; i < pieces.nodes.size(); ++i) {
    text += "    " + std::to_string(i + 1) + ". " + pieces.nodes[i].url + "\n";
    for (std::size_t line = 0; line < pieces.nodes[i].digits.size(); ++line)
      text += (line == 0 ? "       id " : "          ") + pieces.nodes[i].digits[line] + "\n";
  }
  text += "\n[keyring]\n";
  for (std::size_t i = 0; i < pieces.keyring.size(); ++i) text += "    " + std::to_string(i + 1) + ". " + pieces.keyring[i] + "\n";
  text += "\n[end]\n";
  return text;
}

std::string kit_code_text(const RecoveryKit& kit) {
  const KitPieces pieces = kit_pieces(kit);
  const auto dense = [](const std::string& digits) {
    std::string text;
    for (const char c : digits)
      if (c != ' ') text += c;
    return text;
  };
  std::string text = pieces.title + " [drive] " + pieces.drive + " [volume] " + dense(pieces.volume) + " [words]";
  for (const std::string& word : pieces.words) text += " " + word;
  text += " [nodes]";
  for (std::size_t i = 0; i < pieces.nodes.size(); ++i) {
    text += " " + std::to_string(i + 1) + ". " + pieces.nodes[i].url + " id";
    for (const std::string& line : pieces.nodes[i].digits) text += " " + dense(line);
  }
  text += " [keyring]";
  for (std::size_t i = 0; i < pieces.keyring.size(); ++i) text += " " + std::to_string(i + 1) + ". " + dense(pieces.keyring[i]);
  return text + " [end]";
}

std::vector<NodeSpec> nodes_for_kit(const std::vector<NodeSpec>& all, Redundancy redundancy, std::size_t most, Random& random) {
  const std::size_t outlive = redundancy.n > redundancy.k ? std::size_t{redundancy.n} - redundancy.k + 1 : 1;
  const std::size_t wanted = std::min({std::max(nodes_least, outlive), most, all.size()});
  std::set<NodeId> chosen;
  for (const bool staying : {true, false}) {
    std::vector<PlacementNode> candidates;
    for (const NodeSpec& node : all)
      if (node.draining != staying) candidates.push_back({node.id, &node.labels, 0});
    const std::size_t missing = std::min(wanted - chosen.size(), candidates.size());
    std::vector<ShardIndex> places;
    for (std::size_t i = 0; i < missing; ++i) places.push_back(ShardIndex(static_cast<std::uint8_t>(i)));
    for (const ShardHome& home : place_shards(places, candidates, {}, random)) chosen.insert(home.node);
  }
  std::vector<NodeSpec> nodes;
  for (const NodeSpec& node : all)
    if (chosen.contains(node.id)) nodes.push_back(node);
  return nodes;
}

}  // namespace atl
