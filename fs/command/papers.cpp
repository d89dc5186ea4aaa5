#include "fs/command/papers.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "fs/kit/kit_page.h"

namespace atl {

using nlohmann::json;

namespace {

constexpr int format_number = 1;
constexpr std::uint64_t note_bytes_max = 1u << 20;

std::string kit_path(const std::string& state) { return state + "/kit"; }
std::string drill_path(const std::string& state) { return state + "/drill"; }

json read_note(Disk& disk, const std::string& path) {
  const auto bytes = read_file(disk, path, note_bytes_max);
  if (!bytes) return nullptr;
  json note = json::parse(bytes->begin(), bytes->end(), nullptr, false);
  if (!note.is_object() || note.value("format", json()) != json(format_number)) return nullptr;
  return note;
}

Result<> write_note(Disk& disk, const std::string& path, json note) {
  note["format"] = format_number;
  return replace_file(disk, path, as_bytes(note.dump(2, ' ', false, json::error_handler_t::replace) + "\n"));
}

/// So many of a kit's entries must still be nodes: any n - k may be gone when it is needed.
std::size_t entries_needed(const json& status) {
  const json& redundancy = status.at("redundancy");
  const auto losses = redundancy.at("n").get<std::size_t>() - redundancy.at("k").get<std::size_t>();
  return std::min({losses + 1, kit_page_nodes_max, std::max<std::size_t>(status.at("nodes").size(), 1)});
}

json kit_status(const json& status, const json& note) {
  std::size_t entries = 0;
  std::size_t good = 0;
  for (const json& entry : note.at("nodes")) {
    ++entries;
    good += std::any_of(status.at("nodes").begin(), status.at("nodes").end(),
                        [&](const json& node) { return node.at("id") == entry.at("id") && node.at("url") == entry.at("url"); });
  }
  const std::size_t needed = entries_needed(status);
  return {{"current", good >= needed}, {"made_at", note.at("made_at").get<std::int64_t>()}, {"checked_at", note.at("checked_at").get<std::int64_t>()},
          {"entries", entries}, {"entries_good", good}, {"entries_needed", needed}};
}

}  // namespace

Result<> note_kit(Disk& disk, const std::string& state, const std::vector<NodeSpec>& entries, Timestamp now) {
  json note{{"made_at", now.seconds}, {"checked_at", now.seconds}, {"nodes", json::array()}};
  for (const NodeSpec& entry : entries) note["nodes"].push_back({{"id", entry.id.hex()}, {"url", entry.url}});
  return write_note(disk, kit_path(state), std::move(note));
}

Result<> note_kit_checked(Disk& disk, const std::string& state, Timestamp now) {
  json note = read_note(disk, kit_path(state));
  if (note.is_null()) return {};
  note["checked_at"] = now.seconds;
  return write_note(disk, kit_path(state), std::move(note));
}

Result<> note_drill(Disk& disk, const std::string& state, const json& report) { return write_note(disk, drill_path(state), report); }

void add_papers(json& status, Disk& disk, const std::string& state, Timestamp now) {
  status["kit"] = nullptr;
  status["drill"] = nullptr;
  try {
    if (const json kit = read_note(disk, kit_path(state)); !kit.is_null()) status["kit"] = kit_status(status, kit);
  } catch (const json::exception&) {  // as if it were not there
  }
  try {
    if (const json drill = read_note(disk, drill_path(state)); !drill.is_null()) {
      const auto at = drill.at("at").get<std::int64_t>();
      status["drill"] = {{"at", at}, {"age_seconds", std::max<std::int64_t>(now.seconds - at, 0)}, {"passed", drill.at("passed").get<bool>()},
                         {"all", drill.at("all").get<bool>()}, {"seconds", drill.at("seconds").get<double>()},
                         {"files", drill.at("files").get<std::uint64_t>()}, {"differences", drill.at("difference_count").get<std::uint64_t>()},
                         {"bad_shards", drill.at("bad_shards").get<std::uint64_t>()}, {"survives", drill.at("survives").get<std::uint64_t>()}};
    }
  } catch (const json::exception&) {
  }
}

}  // namespace atl
