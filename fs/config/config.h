// A drive's settings: defaults, the configuration file over them, -o options over that.
//
// The file is TOML: `key = value`, no tables. Strict: an unknown key or a value out of range is an error that names it,
// and the line. Sizes are numbers of bytes or text such as "8GiB", or a second of them for rates; times are seconds.
// Errors: Code::invalid. Values; thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "cache/drive/drive.h"
#include "engine/base/result.h"
#include "engine/flow.h"

namespace atl {

struct Config {
  DriveOptions drive;
  Flow flow;                             // what a mount begins with
  std::size_t workers = 8;               // threads that stay for requests of the kernel
  std::uint64_t log_max = 8ull << 20;    // bytes of log kept in the state folder
  std::string log_level = "info";
  bool allow_other = false;              // root: always
};

/// Whether `key` is one of a configuration's.
bool is_config_key(std::string_view key);
/// Sets one key from its text.
Result<> set_config(Config& config, std::string_view key, std::string_view value);
/// Reads a file's text into `config`; `file` is its name for errors.
Result<> read_config(Config& config, std::string_view text, const std::string& file);
/// The file that init writes: every key with its meaning and default, commented out.
std::string default_config_text(const std::string& drive_name);
/// One line for each key, for --help.
std::string config_help();

}  // namespace atl
