#include "fs/command/kit_files.h"

#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <iterator>
#include <sstream>

#include "cache/keys/paper.h"
#include "engine/base/posix_disk.h"
#include "fs/kit/kit_page.h"

namespace atl {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kit_bytes_max = 4u << 20;
constexpr std::size_t word_count = 24;

class Questions {
 public:
  Questions(std::istream& in, std::ostream& out) : in_(in), out_(out) {}

  Result<std::string> line(const std::string& question) {
    out_ << question << std::flush;
    std::string text;
    if (!std::getline(in_, text)) return fail(Code::cancelled, "the recovery kit was not typed to its end");
    return text;
  }
  void say(const Error& error) { out_ << "  " << error.what << (error.hint.empty() ? "" : "\n  " + error.hint) << "\n"; }

  /// Until the answer is a line of digits whose check fits.
  Result<Bytes> digits(const std::string& question, const std::string& what) {
    for (;;) {
      auto text = line(question);
      if (!text) return fail(text.error());
      auto bytes = read_checked_line(*text, what);
      if (bytes) return bytes;
      say(bytes.error());
    }
  }

  Result<SecretKey> words() {
    for (;;) {
      std::string all;
      for (std::size_t have = 0; have < word_count;) {
        auto text = line("Word " + std::to_string(have + 1) + " (or several): ");
        if (!text) return fail(text.error());
        std::istringstream stream(*text);
        for (std::string word; have < word_count && stream >> word;) {
          if (auto known = check_recovery_word(word, have + 1); !known) {
            say(known.error());
            break;
          } else if (*known) {
            all += word + " ";
            ++have;
          }
        }
      }
      auto key = parse_recovery_words(all);
      if (key) return key;
      say(key.error());
    }
  }

 private:
  std::istream& in_;
  std::ostream& out_;
};

/// A kit's text, given part by part, goes through the reader of whole kits: one parser, whatever way it came.
std::string joined(const std::string& drive, const std::string& volume, const std::string& words, const std::string& nodes, const std::string& keyring) {
  return "Atoll recovery kit, format 2 [drive] " + drive + " [volume] " + volume + " [words] " + words + " [nodes] " + nodes + " [keyring] " + keyring + " [end]";
}

std::string free_kit_path(const Places& places, const std::string& suffix) {
  const std::string base = places.home + "/" + places.name + ".recovery-kit";
  std::error_code error;
  std::string path = base + suffix;
  for (int i = 2; fs::exists(fs::symlink_status(path, error)); ++i) path = base + "-" + std::to_string(i) + suffix;
  return path;
}

std::string line_of(ByteView bytes, std::string_view what) { return checked_lines(bytes, what).front(); }

}  // namespace

Result<> write_kit_file(const std::string& path, const RecoveryKit& kit, Undo& undo) {
  if (!path.ends_with(".pdf")) return write_secret_file(path, kit_text(kit), undo);
  auto pdf = kit_page_pdf(kit);
  if (!pdf) return fail(pdf.error());
  return write_secret_file(path, *pdf, undo);
}

Result<std::string> write_default_kit(const Places& places, const RecoveryKit& kit, Undo& undo) {
  for (const std::string suffix : {".pdf", ".txt"}) {
    const std::string path = free_kit_path(places, suffix);
    auto written = write_kit_file(path, kit, undo);
    if (written) return path;
    if (written.error().code != Code::unsupported) return fail(written.error());
  }
  return fail(Code::failed, "the recovery kit could not be written");
}

Result<RecoveryKit> ask_for_kit(std::istream& in, std::ostream& out) {
  Questions questions(in, out);
  out << "Type what stands on the recovery kit. A mistake is said at once.\n";
  auto drive = questions.line("The line under [drive]: ");
  if (!drive) return fail(drive.error());
  std::istringstream one(*drive);
  std::string name;
  if (!(one >> name)) name = "default";
  auto volume = questions.digits("The line under [volume]: ", "volume");
  if (!volume) return fail(volume.error());
  auto key = questions.words();
  if (!key) return fail(key.error());

  std::string nodes;
  for (std::size_t count = 1;; ++count) {
    const std::string which = "node " + std::to_string(count);
    auto url = questions.line(count == 1 ? "The address of node 1; one that can be reached suffices: " : "The address of another node, empty when done: ");
    if (!url) return fail(url.error());
    std::istringstream stream(*url);
    std::string address;
    if (!(stream >> address)) {
      if (count > 1) break;
      --count;
      continue;
    }
    auto first = questions.digits("The first half of its id, up to the first *: ", "node id");
    if (!first) return fail(first.error());
    auto second = questions.digits("The second half: ", "node id");
    if (!second) return fail(second.error());
    if (first->size() + second->size() != NodeId::size) {
      out << "  an id has " << NodeId::size * 2 << " digits; here are " << (first->size() + second->size()) * 2 << "\n";
      --count;
      continue;
    }
    nodes += std::to_string(count) + ". " + address + " id " + line_of(*first, "node id") + " " + line_of(*second, "node id") + " ";
  }

  std::string keyring;
  Bytes paper;
  for (std::size_t number = 1;; ++number) {
    auto text = questions.line("Line " + std::to_string(number) + " under [keyring]" + (number == 1 ? ": " : ", empty after the last: "));
    if (!text) return fail(text.error());
    std::string digits = *text;
    if (const std::size_t dot = digits.find('.'); dot != std::string::npos) digits.erase(0, dot + 1);
    if (digits.find_first_not_of(" \t\r") == std::string::npos) {
      if (number > 1) break;
      --number;
      continue;
    }
    auto bytes = read_checked_line(digits, keyring_line_name(number));
    if (!bytes) {
      questions.say(bytes.error());
      --number;
      continue;
    }
    keyring += std::to_string(number) + ". " + digits + " ";
  }
  std::string words = recovery_words(*key);
  return parse_kit(joined(name, line_of(*volume, "volume"), words, nodes, keyring));
}

Result<RecoveryKit> read_kit_file(const std::string& path) {
  if (path == "-") {
    if (::isatty(STDIN_FILENO) == 1) return ask_for_kit(std::cin, std::cerr);
    const std::string text{std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
    return parse_kit(text);
  }
  PosixDisk disk;
  auto text = read_file(disk, path, kit_bytes_max);
  if (!text) return fail(text.error());
  return parse_kit(as_text(*text));
}

}  // namespace atl
