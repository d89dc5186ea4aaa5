// Talking to the person: standard output and error, the terminal, progress. One thread at a time.
#pragma once

#include <cstdint>
#include <string>

#include "engine/base/result.h"
#include "fs/command/exit_code.h"

namespace atl {

/// Prints an error: for people, or as {"error": {...}}. Always to standard error.
void print_error(const Error& error, bool json);

bool output_is_terminal();

/// A passphrase typed at the terminal, without echo. Code::key without a terminal: never waits then.
Result<std::string> ask_passphrase(const std::string& question);

/// The passphrase of a drive: from `file` ("-": asked), else $CREDENTIALS_DIRECTORY/passphrase, else the terminal.
/// One line end at the end of a file does not count. Code::key.
Result<std::string> find_passphrase(const std::string& file, const std::string& drive_name);

/// A bar on standard error, if that is a terminal; nothing otherwise.
class ProgressBar {
 public:
  ProgressBar();
  ~ProgressBar();
  void show(std::uint64_t done, std::uint64_t total);

 private:
  bool terminal_ = false;
  bool shown_ = false;
};

/// "1 node", "2 nodes".
std::string plural(std::uint64_t count, const std::string& noun);

}  // namespace atl
