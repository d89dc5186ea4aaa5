#include "fs/command/status_report.h"

#include <nlohmann/json.hpp>
#include <sstream>

#include "fs/command/terminal.h"

namespace atl {

using nlohmann::json;

json status_json(const DriveStatus& status, const std::string& name, const std::string& mounted_at) {
  json nodes = json::array();
  for (const NodeStatus& node : status.nodes)
    nodes.push_back({{"id", node.spec.id.hex()},
                     {"url", node.spec.url},
                     {"state", to_string(node.state)},
                     {"last_error", node.last_error},
                     {"used_bytes", node.used_bytes},
                     {"free_bytes", node.free_bytes},
                     {"capacity_bytes", node.capacity_bytes},
                     {"device", node.device},
                     {"labels", node.spec.labels}});
  return {{"schema", 1},
          {"name", name},
          {"mounted_at", mounted_at.empty() ? json() : json(mounted_at)},
          {"state", to_string(status.state)},
          {"trouble", status.trouble},
          {"idle", status.idle},
          {"redundancy", {{"k", status.redundancy.k}, {"r", status.protect_min}, {"n", status.redundancy.n}}},
          {"protection", to_string(status.protection)},
          {"staged_bytes", status.staged_bytes},
          {"oldest_unprotected_seconds", status.oldest_unprotected_seconds},
          {"logical_bytes", status.logical_bytes},
          {"stored_bytes", status.stored_bytes},
          {"garbage_bytes", status.garbage_bytes},
          {"cache_bytes", status.cache_bytes},
          {"files", status.files},
          {"applied_lsn", status.applied_lsn},
          {"durable_lsn", status.durable_lsn},
          {"nodes", std::move(nodes)},
          {"counters", status.counters},
          {"survives", {{"text", status.survives.text}, {"any", status.survives.any}, {"of", status.survives.of}}}};
}

json nodes_json(const json& status) { return {{"schema", 1}, {"name", status.at("name")}, {"nodes", status.at("nodes")}}; }

namespace {

std::string what_to_do(const std::string& state) {
  if (state == "absent") return "connect it again; it is noticed by itself";
  if (state == "full") return "make room on it, or add a node";
  if (state == "slow") return "nothing to do unless it stays so";
  if (state == "stale") return "it holds an older state; leave it connected, it catches up";
  if (state == "lying") return "it returned wrong data: check that disk";
  return {};
}

}  // namespace

std::string nodes_text(const json& nodes, bool asked) {
  std::ostringstream out;
  for (const json& node : nodes) {
    const auto state = asked ? node.at("state").get<std::string>() : std::string("not asked");
    out << "  " << state << std::string(state.size() < 10 ? 10 - state.size() : 1, ' ') << node.at("url").get<std::string>();
    if (asked && node.at("used_bytes").get<std::uint64_t>() != 0) out << "  (" << human_bytes(node.at("used_bytes")) << " used)";
    for (const auto& [key, value] : node.at("labels").items()) out << "  " << key << "=" << value.get<std::string>();
    out << "\n";
    if (!asked || state == "ok") continue;
    if (const auto error = node.at("last_error").get<std::string>(); !error.empty()) out << "            " << error << "\n";
    if (const std::string hint = what_to_do(state); !hint.empty()) out << "            " << hint << "\n";
  }
  return out.str();
}

std::string status_text(const json& status) {
  std::ostringstream out;
  const auto state = status.at("state").get<std::string>();
  const bool mounted = status.at("mounted_at").is_string();
  out << "Drive " << status.at("name").get<std::string>() << ": ";
  if (mounted)
    out << "mounted at " << status.at("mounted_at").get<std::string>() << ", " << state;
  else
    out << (state == "unmounted" ? "not mounted" : state);
  out << "\n";
  if (const auto trouble = status.at("trouble").get<std::string>(); !trouble.empty()) out << "  Trouble:    " << trouble << "\n";

  const json& redundancy = status.at("redundancy");
  if (const auto text = status.at("survives").at("text").get<std::string>(); !text.empty())
    out << "  Survives:   " << text << "\n";
  const auto protection = status.at("protection").get<std::string>();
  out << "  Protection: " << protection;
  if (protection == "full")
    out << " (everything lies on all " << redundancy.at("n") << " nodes of its segment)";
  else if (protection == "protected")
    out << " (everything has " << redundancy.at("r") << " or more of " << redundancy.at("n") << " shards; the rest follows)";
  else if (protection == "reduced")
    out << " (some data has fewer than " << redundancy.at("r") << " shards on nodes)";
  else
    out << " (some data exists on this computer only)";
  out << "\n";
  const auto staged = status.at("staged_bytes").get<std::uint64_t>();
  out << "  Only here:  " << (staged == 0 ? "nothing" : human_bytes(staged));
  if (const auto age = status.at("oldest_unprotected_seconds").get<std::uint64_t>(); staged != 0 && age != 0)
    out << ", the oldest for " << age << " s";
  if (staged != 0 && !mounted) out << "; it is sent when the drive is mounted";
  out << "\n";
  out << "  Holds:      " << human_bytes(status.at("logical_bytes")) << " in " << plural(status.at("files").get<std::uint64_t>(), "file")
      << "; on nodes " << human_bytes(status.at("stored_bytes"));
  if (const auto garbage = status.at("garbage_bytes").get<std::uint64_t>(); garbage != 0)
    out << " and " << human_bytes(garbage) << " waiting for gc";
  out << "; cached here " << human_bytes(status.at("cache_bytes")) << "\n";
  const json& nodes = status.at("nodes");
  out << "  Nodes:      " << nodes.size() << ", " << redundancy.at("k") << " of " << redundancy.at("n") << " shards bring data back\n";
  std::istringstream lines(nodes_text(nodes, mounted));
  std::string line;
  while (std::getline(lines, line)) out << "  " << line << "\n";
  return out.str();
}

}  // namespace atl
