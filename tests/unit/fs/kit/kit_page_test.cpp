// The page that is printed, and the questions to whoever types it in.
#include "fs/kit/kit_page.h"

#include <catch2/catch.hpp>
#include <map>
#include <sstream>

#include "fs/command/kit_files.h"

using namespace atl;

namespace {

RecoveryKit kit_of(std::size_t nodes, int rotations = 0) {
  SystemRandom random;
  Keyring keyring = Keyring::generate(random);
  for (int i = 0; i < rotations; ++i) keyring = keyring.rotated(random);
  RecoveryKit kit{"photos", keyring.volume(), SecretKey::random(random), {}, {}};
  for (std::size_t i = 0; i < nodes; ++i)
    kit.nodes.push_back({random.id<NodeId>(), "atoll:storage-" + std::to_string(i) + ".example.org:7465", {}});
  kit.wrapped_keyring = keyring.wrap(kit.key, random);
  return kit;
}

bool same(const RecoveryKit& a, const RecoveryKit& b) {
  return a.drive_name == b.drive_name && a.volume == b.volume && a.key.equals(b.key) && a.wrapped_keyring == b.wrapped_keyring &&
         a.nodes.size() == b.nodes.size() &&
         std::equal(a.nodes.begin(), a.nodes.end(), b.nodes.begin(), [](const NodeSpec& x, const NodeSpec& y) { return x.id == y.id && x.url == y.url; });
}

}  // namespace

TEST_CASE("The page's file is a kit itself, whatever is in its names") {
  for (const char* name : {"photos", "odd (name) \\ % ) end", "Bücher"}) {
    RecoveryKit kit = kit_of(kit_page_nodes_max);
    kit.drive_name = name;
    const auto pdf = kit_page_pdf(kit);
    INFO(name << ": " << (pdf ? std::string() : pdf.error().what));
    REQUIRE(pdf);
    CHECK(pdf->starts_with("%PDF-"));
    const auto back = parse_kit(*pdf);
    INFO((back ? std::string() : back.error().what));
    REQUIRE(back);
    CHECK(same(*back, kit));
  }
  CHECK(kit_page_pdf(kit_of(6, 12)));  // keys were rotated every month for a year
  const auto foreign = parse_kit("%PDF-1.5\nsomething else");
  REQUIRE_FALSE(foreign);
  CHECK(foreign.error().what.find("PDF") != std::string::npos);
}

TEST_CASE("Keys rotated too often for a QR code are said to be so") {
  const auto pdf = kit_page_pdf(kit_of(12, 60));
  REQUIRE_FALSE(pdf);
  CHECK(pdf.error().code == Code::too_large);
}

TEST_CASE("Whoever types a kit is told of a mistake at once, and asked for that part again") {
  const RecoveryKit kit = kit_of(2);
  const KitPieces pieces = kit_pieces(kit);
  std::ostringstream typed;
  typed << "photos\n";
  std::string wrong = pieces.volume;
  wrong[0] = wrong[0] == '0' ? '1' : '0';
  typed << wrong << "\n" << pieces.volume << "\n";
  for (std::size_t i = 0; i < pieces.words.size(); ++i) {
    if (i == 6) typed << "qqqq\n";
    typed << i + 1 << ". " << pieces.words[i] << (i % 4 == 1 ? "\n" : " ");
  }
  typed << "\n";
  for (const auto& node : pieces.nodes) {
    typed << node.url << "\n" << node.digits[0] << "\n";
    if (&node == &pieces.nodes.front()) typed << "0000 *0000\n";
    typed << node.digits[1] << "\n";
  }
  typed << "\n";
  for (std::size_t i = 0; i < pieces.keyring.size(); ++i) {
    if (i == 2) typed << pieces.keyring[1] << "\n";
    typed << i + 1 << ". " << pieces.keyring[i] << "\n";
  }
  typed << "\n";
  std::istringstream in(typed.str());
  std::ostringstream out;
  const auto back = ask_for_kit(in, out);
  INFO(out.str() << (back ? std::string() : back.error().what));
  REQUIRE(back);
  CHECK(same(*back, kit));
  CHECK(out.str().find("volume was typed wrongly") != std::string::npos);
  CHECK(out.str().find("word 7 of the recovery key, 'qqqq'") != std::string::npos);
  CHECK(out.str().find("node id was typed wrongly") != std::string::npos);
  CHECK(out.str().find("keyring line 3 was typed wrongly") != std::string::npos);

  std::istringstream cut(typed.str().substr(0, typed.str().size() / 2));
  const auto nothing = ask_for_kit(cut, out);
  REQUIRE_FALSE(nothing);
  CHECK(nothing.error().code == Code::cancelled);
}
