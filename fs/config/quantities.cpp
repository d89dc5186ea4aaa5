#include "fs/config/quantities.h"

#include <algorithm>
#include <charconv>

namespace atl {

Result<std::chrono::seconds> parse_seconds(std::string_view text) {
  constexpr std::int64_t seconds_max = std::int64_t{100} * 366 * 86400;
  std::int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  const std::string_view unit(rest, static_cast<std::size_t>(end - rest));
  std::int64_t each = 0;
  if (unit.empty() || unit == "s") each = 1;
  if (unit == "m") each = 60;
  if (unit == "h") each = 3600;
  if (unit == "d") each = 86400;
  if (error != std::errc() || each == 0 || number < 0 || number > seconds_max / each)
    return fail(Code::invalid, "\"" + std::string(text) + "\" is no time", "write it like 90, 15m, 12h or 7d");
  return std::chrono::seconds(number * each);
}

Result<std::uint64_t> parse_rate(std::string_view text) {
  if (text == "none") return std::uint64_t{0};
  std::string_view bytes = text;
  if (bytes.ends_with("/s")) bytes.remove_suffix(2);
  const auto rate = parse_bytes(bytes);
  const std::string hint = "write it like 200KiB or 2MiB: bytes per second; or none";
  if (!rate) return fail(Code::invalid, "\"" + std::string(text) + "\" is no rate", hint);
  if (*rate != 0 && *rate < Flow::limit_min)
    return fail(Code::invalid, "\"" + std::string(text) + "\" is too little: at least " + human_bytes(Flow::limit_min) + " a second", hint);
  return *rate;
}

Result<Labels> parse_labels(const std::vector<std::string>& words) {
  Labels labels;
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    const std::string key = word.substr(0, equals);
    const std::string value = equals == std::string::npos ? std::string() : word.substr(equals + 1);
    const bool key_fits = !key.empty() && key.size() <= 64 && std::all_of(key.begin(), key.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    });
    const bool value_fits = !value.empty() && value.size() <= 128 && std::none_of(value.begin(), value.end(), [](char c) {
      return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    });
    if (!key_fits || !value_fits)
      return fail(Code::invalid, "\"" + word + "\" is no label", "write it like country=de, the key in small letters");
    if (!labels.emplace(key, value).second) return fail(Code::invalid, "the label " + key + " is given twice");
  }
  return labels;
}

}  // namespace atl
