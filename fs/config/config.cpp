#include "fs/config/config.h"

#include <cmath>
#include <charconv>
#include <sstream>
#include <toml++/toml.h>

#include "fs/config/quantities.h"

namespace atl {

namespace {

struct Key {
  std::string_view name;
  std::string_view default_text;
  std::string_view meaning;
  Result<> (*set)(Config&, std::string_view);
};

Result<double> parse_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    return fail(Code::invalid, "\"" + std::string(text) + "\" is not a number");
  return value;
}

template <double min, double max>
Result<> set_seconds(Duration& out, std::string_view text) {
  const auto value = parse_number(text);
  if (!value) return fail(value.error());
  if (*value < min || *value > max) {
    std::ostringstream range;
    range << *value << " s is out of range: " << min << " to " << max;
    return fail(Code::invalid, range.str());
  }
  out = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(*value));
  return {};
}

template <std::uint64_t min>
Result<> set_bytes(std::uint64_t& out, std::string_view text) {
  const auto value = parse_bytes(text);
  if (!value) return fail(value.error());
  if (*value < min) return fail(Code::invalid, human_bytes(*value) + " is too little: at least " + human_bytes(min));
  out = *value;
  return {};
}

Result<> set_rate(std::uint64_t& out, std::string_view text) {
  const auto rate = parse_rate(text);
  if (!rate) return fail(rate.error());
  out = *rate;
  return {};
}

Result<> set_bool(bool& out, std::string_view text) {
  if (text == "true" || text == "yes" || text == "1" || text.empty())
    out = true;
  else if (text == "false" || text == "no" || text == "0")
    out = false;
  else
    return fail(Code::invalid, "\"" + std::string(text) + "\" is neither true nor false");
  return {};
}

constexpr std::uint64_t mebibyte = 1ull << 20;

constexpr Key keys[] = {
    {"staging_max", "\"8GiB\"", "local disk for what is not on the nodes yet; when it is full, writers wait for the nodes",
     [](Config& c, std::string_view v) { return set_bytes<64 * mebibyte>(c.drive.staging_max, v); }},
    {"cache_max", "\"4GiB\"", "local disk for copies of what the nodes hold",
     [](Config& c, std::string_view v) { return set_bytes<0>(c.drive.cache_max, v); }},
    {"dirty_max", "\"16MiB\"", "memory for what was written and is not sealed yet",
     [](Config& c, std::string_view v) { return set_bytes<mebibyte>(c.drive.dirty_max, v); }},
    {"disk_reserve", "\"256MiB\"", "local disk that the drive never fills",
     [](Config& c, std::string_view v) { return set_bytes<0>(c.drive.disk_reserve, v); }},
    {"flush_interval_s", "1", "what no program asked to be flushed is flushed after this time",
     [](Config& c, std::string_view v) { return set_seconds<0.01, 3600.0>(c.drive.flush_interval, v); }},
    {"read_timeout_s", "30", "a read that needs nodes which do not answer fails after this time",
     [](Config& c, std::string_view v) { return set_seconds<0.1, 86400.0>(c.drive.read_timeout, v); }},
    {"write_timeout_s", "30", "how long a writer waits for staging space before it gets \"no space left\"",
     [](Config& c, std::string_view v) { return set_seconds<0.0, 86400.0>(c.drive.write_timeout, v); }},
    {"ship_idle_s", "1", "what was saved goes to the nodes so long after the last change",
     [](Config& c, std::string_view v) { return set_seconds<0.0, 3600.0>(c.drive.ship_idle, v); }},
    {"ship_max_s", "15", "and so long after the first one while changes go on",
     [](Config& c, std::string_view v) { return set_seconds<0.1, 86400.0>(c.drive.ship_max, v); }},
    {"ship_interval_s", "60", "small saves that go on and on are sent together, so often; saved on this computer they are at once",
     [](Config& c, std::string_view v) { return set_seconds<0.0, 3600.0>(c.drive.ship_interval, v); }},
    {"gc_grace_s", "86400", "how long garbage stays on nodes; then it is removed, together with what follows within a 24th of that",
     [](Config& c, std::string_view v) { return set_seconds<0.0, 31536000.0>(c.drive.gc_grace, v); }},
    {"repair_grace_s", "604800", "a node that is away may return: what it holds is rebuilt elsewhere after this time",
     [](Config& c, std::string_view v) { return set_seconds<0.0, 31536000.0>(c.drive.repair_grace, v); }},
    {"repair_patience_s", "60", "and where at most one more node may go, after this time",
     [](Config& c, std::string_view v) { return set_seconds<0.0, 86400.0>(c.drive.repair_patience, v); }},
    {"care_bandwidth", "\"8MiB\"", "bytes a second for repairs and for emptying nodes",
     [](Config& c, std::string_view v) { return set_bytes<4096>(c.drive.care_bandwidth, v); }},
    {"upload_limit", "\"none\"", "bytes a second to nodes, such as \"2MiB\"; `atoll limit` changes it while mounted",
     [](Config& c, std::string_view v) { return set_rate(c.flow.upload_limit, v); }},
    {"download_limit", "\"none\"", "bytes a second from nodes",
     [](Config& c, std::string_view v) { return set_rate(c.flow.download_limit, v); }},
    {"paused", "false", "begin without sending anything to nodes, until `atoll resume`",
     [](Config& c, std::string_view v) { return set_bool(c.flow.paused, v); }},
    {"workers", "8", "threads that stay ready for requests of the kernel",
     [](Config& c, std::string_view v) -> Result<> {
       const auto value = parse_number(v);
       if (!value) return fail(value.error());
       if (*value < 1 || *value > 64 || *value != std::floor(*value))
         return fail(Code::invalid, "\"" + std::string(v) + "\" is not a number of threads: 1 to 64");
       c.workers = static_cast<std::size_t>(*value);
       return {};
     }},
    {"log_max", "\"8MiB\"", "size of the log kept in the state folder",
     [](Config& c, std::string_view v) { return set_bytes<65536>(c.log_max, v); }},
    {"log_level", "\"info\"", "trace, debug, info, warning or error",
     [](Config& c, std::string_view v) -> Result<> {
       for (const std::string_view level : {"trace", "debug", "info", "warning", "error"}) {
         if (v != level) continue;
         c.log_level = v;
         return {};
       }
       return fail(Code::invalid, "\"" + std::string(v) + "\" is none of trace, debug, info, warning, error");
     }},
    {"allow_other", "false",
     "let other users of this computer use the mount; always so for root, else /etc/fuse.conf must say user_allow_other",
     [](Config& c, std::string_view v) { return set_bool(c.allow_other, v); }},
};

const Key* find_key(std::string_view name) {
  for (const Key& key : keys)
    if (key.name == name) return &key;
  return nullptr;
}

std::string place(const std::string& file, const toml::source_region& region) {
  return file + ":" + std::to_string(region.begin.line);
}

}  // namespace

bool is_config_key(std::string_view key) { return find_key(key) != nullptr; }

Result<> set_config(Config& config, std::string_view key, std::string_view value) {
  const Key* known = find_key(key);
  if (known == nullptr) return fail(Code::invalid, "unknown key " + std::string(key));
  auto set = known->set(config, value);
  if (!set) return fail(Code::invalid, std::string(key) + ": " + set.error().what, std::string(known->meaning));
  return {};
}

Result<> read_config(Config& config, std::string_view text, const std::string& file) {
  toml::table table;
  try {
    table = toml::parse(text, file);
  } catch (const toml::parse_error& error) {
    return fail(Code::invalid, place(file, error.source()) + ": " + std::string(error.description()));
  }
  for (const auto& [key, node] : table) {
    const std::string where = place(file, key.source());
    const std::string name(key.str());
    if (!is_config_key(name))
      return fail(Code::invalid, where + ": unknown key " + name, "the keys are: atoll mount --help");
    std::string value;
    if (const auto* text_value = node.as_string()) {
      value = text_value->get();
    } else if (const auto* integer = node.as_integer()) {
      value = std::to_string(integer->get());
    } else if (const auto* number = node.as_floating_point()) {
      std::ostringstream out;
      out.precision(17);
      out << number->get();
      value = out.str();
    } else if (const auto* flag = node.as_boolean()) {
      value = flag->get() ? "true" : "false";
    } else {
      return fail(Code::invalid, where + ": " + name + " needs a number or a text");
    }
    if (auto set = set_config(config, name, value); !set)
      return fail(Code::invalid, where + ": " + set.error().what, set.error().hint);
  }
  return {};
}

std::string default_config_text(const std::string& drive_name) {
  std::string text = "# Settings of the Atoll drive \"" + drive_name + "\". Each line shows a default; remove its # to change it.\n" +
                     "# A mount reads this when it begins; `atoll mount -o KEY=VALUE` overrides a key for one mount.\n";
  for (const Key& key : keys)
    text += "\n# " + std::string(key.meaning) + "\n#" + std::string(key.name) + " = " + std::string(key.default_text) + "\n";
  return text;
}

std::string config_help() {
  std::string text;
  for (const Key& key : keys) {
    std::string line = "  " + std::string(key.name) + " (" + std::string(key.default_text) + ")";
    line.resize(std::max<std::size_t>(line.size() + 1, 30), ' ');
    text += line + std::string(key.meaning) + "\n";
  }
  return text;
}

}  // namespace atl
