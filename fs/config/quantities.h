// Times and labels as people write them on a command line. Pure. Code::invalid, naming what was written.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/flow.h"

namespace atl {

/// "90", "90s", "15m", "12h", "7d": whole numbers, up to a hundred years.
Result<std::chrono::seconds> parse_seconds(std::string_view text);

/// Bytes per second: "none" (0), or "200KiB", "2MiB", "2MiB/s"; not less than Flow::limit_min.
Result<std::uint64_t> parse_rate(std::string_view text);

/// KEY=VALUE, each key once. Keys have 1 to 64 of a-z 0-9 . _ -, values 1 to 128 printable characters.
Result<Labels> parse_labels(const std::vector<std::string>& words);

}  // namespace atl
