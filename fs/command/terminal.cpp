#include "fs/command/terminal.h"

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/base/bytes.h"
#include "engine/base/posix_disk.h"
#include "fs/control/error_json.h"

namespace atl {

namespace {

std::string without_line_end(std::string text) {
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  return text;
}

Result<std::string> read_passphrase_file(const std::string& path) {
  PosixDisk disk;
  auto bytes = read_file(disk, path, 64 * 1024);
  if (!bytes) return fail(Code::key, "cannot read the passphrase: " + bytes.error().what, bytes.error().hint);
  std::string text = without_line_end(std::string(as_text(*bytes)));
  if (text.empty()) return fail(Code::key, "the passphrase file " + path + " is empty");
  return text;
}

}  // namespace

void print_error(const Error& error, bool json) {
  if (json) {
    std::cerr << nlohmann::json{{"error", to_json(error)}}.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
              << std::endl;
    return;
  }
  std::cerr << "atoll: " << (error.what.empty() ? std::string(code_name(error.code)) : error.what) << "\n";
  if (!error.hint.empty()) std::cerr << "  " << error.hint << "\n";
}

bool output_is_terminal() { return ::isatty(STDOUT_FILENO) == 1; }

Result<std::string> ask_passphrase(const std::string& question) {
  const int terminal = ::isatty(STDIN_FILENO) == 1 ? ::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY) : -1;
  termios before{};
  if (terminal < 0 || ::tcgetattr(terminal, &before) != 0) {
    if (terminal >= 0) ::close(terminal);
    return fail(Code::key, "a passphrase is needed and there is no terminal to ask at",
                "give --passphrase-file FILE, or $CREDENTIALS_DIRECTORY/passphrase");
  }
  termios silent = before;
  silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  ::tcsetattr(terminal, TCSAFLUSH, &silent);
  static_cast<void>(!::write(terminal, question.data(), question.size()));
  std::string text;
  char letter = 0;
  while (text.size() < 4096 && ::read(terminal, &letter, 1) == 1 && letter != '\n') text.push_back(letter);
  ::tcsetattr(terminal, TCSAFLUSH, &before);
  static_cast<void>(!::write(terminal, "\n", 1));
  ::close(terminal);
  if (text.empty()) return fail(Code::key, "no passphrase was given");
  return text;
}

Result<std::string> find_passphrase(const std::string& file, const std::string& drive_name) {
  if (!file.empty() && file != "-") return read_passphrase_file(file);
  const char* credentials = std::getenv("CREDENTIALS_DIRECTORY");
  if (file.empty() && credentials != nullptr) {
    const std::string path = std::string(credentials) + "/passphrase";
    if (::access(path.c_str(), F_OK) == 0) return read_passphrase_file(path);
  }
  return ask_passphrase("Passphrase of the drive " + drive_name + ": ");
}

ProgressBar::ProgressBar() : terminal_(::isatty(STDERR_FILENO) == 1) {}

ProgressBar::~ProgressBar() {
  if (shown_) std::fputs("\r\033[K", stderr);
}

void ProgressBar::show(std::uint64_t done, std::uint64_t total) {
  if (!terminal_ || total == 0) return;
  constexpr int width = 30;
  const double share = static_cast<double>(std::min(done, total)) / static_cast<double>(total);
  const int filled = static_cast<int>(share * width);
  std::fprintf(stderr, "\r[%s%s] %3d%%  %s of %s\033[K", std::string(static_cast<std::size_t>(filled), '#').c_str(),
               std::string(static_cast<std::size_t>(width - filled), '.').c_str(), static_cast<int>(share * 100),
               human_bytes(done).c_str(), human_bytes(total).c_str());
  std::fflush(stderr);
  shown_ = true;
}

std::string plural(std::uint64_t count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

}  // namespace atl
