#include "fs/command/check_report.h"

#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/base/bytes.h"
#include "fs/command/terminal.h"

namespace atl {

using nlohmann::json;

namespace {

constexpr std::size_t names_shown = 20;

const char* name_of(CheckProgress::Step step) {
  switch (step) {
    case CheckProgress::Step::journal: return "journal";
    case CheckProgress::Step::index: return "index";
    case CheckProgress::Step::listing: return "listing";
    case CheckProgress::Step::reading: return "reading";
    case CheckProgress::Step::mending: return "mending";
  }
  return "";
}

json files_json(const TouchedFiles& files) { return {{"count", files.count}, {"names", files.names}}; }

std::string files_text(const json& files, const std::string& what) {
  const auto count = files.at("count").get<std::uint64_t>();
  if (count == 0) return {};
  std::ostringstream out;
  out << plural(count, "file") << " " << what << ":\n";
  std::size_t shown = 0;
  for (const json& name : files.at("names")) {
    if (shown++ == names_shown) break;
    out << "  " << name.get<std::string>() << "\n";
  }
  if (count > names_shown) out << "  and " << count - names_shown << " more (--json names " << files.at("names").size() << ")\n";
  return out.str();
}

std::string number(const json& object, const char* key, const std::string& noun) { return plural(object.at(key).get<std::uint64_t>(), noun); }

std::string history_text(const json& report) {
  std::ostringstream out;
  const json& journal = report.at("journal");
  const auto damage = journal.at("damage").get<std::string>();
  out << "Journal:  ";
  if (damage.empty())
    out << "whole, " << number(journal, "records", "record") << ", the chain unbroken\n";
  else
    out << damage << "\n          " << (journal.at("mended").get<bool>() ? "mended: a checkpoint stands in for what was damaged" : "--repair lets a checkpoint stand in for it") << "\n";
  const json& checkpoint = report.at("checkpoint");
  if (const auto wrong = checkpoint.at("damage").get<std::string>(); !wrong.empty())
    out << "Snapshot: " << wrong << "\n          " << (checkpoint.at("mended").get<bool>() ? "mended: it was written again" : "--repair writes it again") << "\n";
  const json& index = report.at("index");
  out << "Index:    ";
  if (index.at("rebuilt").get<bool>()) out << "was damaged or gone when the drive was opened, and was made anew from the journal\n          ";
  if (const auto wrong = index.at("damage").get<std::string>(); !wrong.empty())
    out << wrong << "\n          "
        << (index.at("at_mount").get<bool>() ? "mended at the next mount, from the journal" : "--repair has it made anew from the journal, at the next mount") << "\n";
  else if (index.at("compared").get<bool>())
    out << "what the journal says, row by row (" << number(index, "rows", "row") << ")\n";
  else
    out << "not compared, since what it would be compared with is damaged\n";
  return out.str();
}

std::string nodes_text(const json& report) {
  std::ostringstream out;
  out << "Nodes:\n";
  for (const json& node : report.at("nodes")) {
    out << "  " << node.at("url").get<std::string>() << ": " << number(node, "shards", "shard");
    if (!node.at("listed").get<bool>()) {
      out << ", not looked at: " << node.at("error").get<std::string>() << "\n";
      continue;
    }
    std::string separator = ", ";
    for (const char* const key : {"missing", "damaged"}) {
      if (const auto count = node.at(key).get<std::uint64_t>(); count != 0) {
        out << separator << count << " " << key;
      }
    }
    if (const auto silent = node.at("silent").get<std::uint64_t>(); silent != 0) out << separator << silent << " not answered for";
    if (node.at("missing") == 0 && node.at("damaged") == 0 && node.at("silent") == 0) out << ", all there";
    if (const auto strange = node.at("strange").get<std::uint64_t>(); strange != 0)
      out << "; " << plural(strange, "object") << " that no record names";
    out << "\n";
  }
  return out.str();
}

}  // namespace

json check_json(const CheckReport& report) {
  json nodes = json::array();
  for (const CheckedNode& node : report.nodes)
    nodes.push_back({{"id", node.node.hex()},     {"url", node.url},         {"listed", node.listed},   {"error", node.error},
                     {"shards", node.shards},     {"missing", node.missing}, {"damaged", node.damaged}, {"silent", node.silent},
                     {"strange", node.strange}});
  return {{"schema", 1},
          {"sound", report.sound()},
          {"complete", report.complete()},
          {"journal", {{"damage", report.journal_damage}, {"mended", report.journal_mended}, {"records", report.journal_records}}},
          {"checkpoint", {{"damage", report.checkpoint_damage}, {"mended", report.checkpoint_mended}}},
          {"index",
           {{"damage", report.index_damage},
            {"compared", report.index_compared},
            {"rebuilt", report.index_rebuilt},
            {"at_mount", report.index_at_mount},
            {"rows", report.index_rows}}},
          {"segments", report.segments},
          {"shards", report.shards},
          {"read_bytes", report.read_bytes},
          {"resumed_after", report.resumed_after ? json(report.resumed_after->value) : json()},
          {"nodes", std::move(nodes)},
          {"found", report.found},
          {"left", report.left},
          {"unplaced", report.unplaced},
          {"lost_segments", report.lost_segments},
          {"weakened_segments", report.weakened_segments},
          {"lost_files", files_json(report.lost_files)},
          {"weakened_files", files_json(report.weakened_files)}};
}

std::string check_text(const json& report) {
  std::ostringstream out;
  out << history_text(report) << nodes_text(report);
  const auto read = report.at("read_bytes").get<std::uint64_t>();
  out << "Looked for " << number(report, "shards", "shard") << " of " << number(report, "segments", "segment");
  if (read > 0) out << ", read and verified " << human_bytes(read);
  if (report.at("resumed_after").is_number()) out << ", going on where an earlier check was interrupted";
  out << ".\n";
  if (const auto unplaced = report.at("unplaced").get<std::uint64_t>(); unplaced != 0)
    out << plural(unplaced, "shard") << " could not be stored so far; the mount goes on trying.\n";
  if (const auto found = report.at("found").get<std::uint64_t>(); found != 0) {
    const auto left = report.at("left").get<std::uint64_t>();
    out << plural(found, "shard") << (found == 1 ? " is" : " are") << " missing or damaged; ";
    if (left == 0)
      out << "replaced.\n";
    else if (left == found)
      out << "the mounted drive replaces what can be replaced, and --repair waits for it.\n";
    else
      out << found - left << " replaced, " << left << " left.\n";
  }
  out << files_text(report.at("lost_files"), "cannot be read in full now");
  out << files_text(report.at("weakened_files"), "can be read, and rest on something damaged");
  return out.str();
}

Outcome<> check_outcome(const json& report) {
  if (const auto lost = report.at("lost_segments").get<std::uint64_t>(); lost != 0)
    return give_up(Error(Code::too_few_nodes, plural(lost, "segment") + " cannot be read from the nodes that answer: " + number(report.at("lost_files"), "count", "file") + " touched",
                         "bring nodes back; what no node gives any more is lost"));
  if (!report.at("sound").get<bool>()) {
    const bool here = report.at("left").get<std::uint64_t>() == 0;
    return give_up(Error(Code::corrupt, "something is damaged, and nothing is lost",
                         here ? "atoll check --repair mends it" : "atoll check --repair mends it; it needs a free node for each shard of a segment"));
  }
  if (!report.at("complete").get<bool>())
    return give_up(Error(Code::too_few_nodes, "what was looked at is whole, and not all nodes answered", "check again when they do"));
  return {};
}

Result<json> check_drive(Drive& drive, const json& request, const ProgressSink& progress, std::stop_token stop) {
  CheckOptions options;
  try {
    options.read_percent = request.at("read_percent").get<unsigned>();
    options.repair = request.at("repair").get<bool>();
    options.from_start = request.at("from_start").get<bool>();
  } catch (const json::exception&) {
    return fail(Code::invalid, "this request for a check is incomplete");
  }
  if (options.read_percent > 100) return fail(Code::invalid, "more than all cannot be read");
  auto report = drive.care().check(
      options, [&](const CheckProgress& now) { progress({{"step", name_of(now.step)}, {"done", now.done}, {"total", now.total}}); }, stop);
  if (!report) return fail(report.error());
  return check_json(*report);
}

}  // namespace atl
