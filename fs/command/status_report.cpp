#include "fs/command/status_report.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cache/care/loss_estimate.h"
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
  json labels = json::object();
  for (const LabelSurvival& entry : status.survives.labels)
    labels[entry.key] = {{"may_vanish", entry.may_vanish}, {"needed", entry.needed}};
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
          {"journal_unshipped_seconds", status.journal_unshipped_seconds},
          {"epoch", status.epoch},
          {"untold", status.untold ? json{{"changes", status.untold->changes}, {"files", status.untold->files}, {"bytes", status.untold->bytes}, {"complete", status.untold->complete}} : json()},
          {"generation", status.generation},
          {"metadata_requests", status.metadata_requests},
          {"logical_bytes", status.logical_bytes},
          {"stored_bytes", status.stored_bytes},
          {"garbage_bytes", status.garbage_bytes},
          {"cache_bytes", status.cache_bytes},
          {"files", status.files},
          {"applied_lsn", status.applied_lsn},
          {"durable_lsn", status.durable_lsn},
          {"nodes", std::move(nodes)},
          {"counters", status.counters},
          {"survives", {{"text", status.survives.text}, {"any", status.survives.any}, {"of", status.survives.of}, {"labels", std::move(labels)}}}};
}

void add_care(json& status, const CareStatus& care) {
  json margins = json::array();
  for (const auto& [key, count] : care.margins)
    margins.push_back({{"k", key.first.k}, {"n", key.first.n}, {"margin", key.second}, {"segments", count}});
  status["care"] = {{"margins", std::move(margins)},
                    {"worst_segment", care.worst_segment ? json(care.worst_segment->value) : json()},
                    {"worst_margin", care.worst_margin},
                    {"yearly_loss", care.yearly_loss},
                    {"safe_days", care.safe_days},
                    {"waiting_jobs", care.waiting_jobs},
                    {"no_place", care.no_place}};
  for (json& node : status["nodes"]) {
    for (const NodeCare& known : care.nodes) {
      if (known.node.hex() != node.at("id").get<std::string>()) continue;
      node["care"] = {{"trust", to_string(known.trust)}, {"score", known.score},   {"audits", known.audits},
                      {"wrong", known.wrong},            {"late", known.late},     {"silent", known.silent},
                      {"leaving", known.leaving},        {"shards", known.shards}, {"bad_shards", known.bad_shards},
                      {"away_seconds", known.away_seconds}};
    }
  }
}

namespace {

/// Milliseconds, to the microsecond.
json latency_json(const std::optional<Duration>& latency) {
  if (!latency) return {};
  return static_cast<double>(std::chrono::duration_cast<std::chrono::microseconds>(*latency).count()) / 1000;
}

/// What a metered store would charge for. Of a short time nothing can be said of a day.
json requests_per_day(const NodeStatistics& known, Duration kept) {
  if (kept < std::chrono::hours(1)) return {};
  const double days = std::chrono::duration<double>(kept) / std::chrono::hours(24);
  return static_cast<std::uint64_t>(static_cast<double>(known.answered + known.failed + known.timed_out) / days);
}

json statistics_json(const NodeStatistics& known, Duration kept) {
  return {{"answered", known.answered},
          {"requests_per_day", requests_per_day(known, kept)},
          {"failed", known.failed},
          {"timed_out", known.timed_out},
          {"late_puts", known.late_puts},
          {"bad_answers", known.bad_answers},
          {"read_ms", {{"median", latency_json(known.read_median)}, {"p95", latency_json(known.read_p95)}}},
          {"write_ms", {{"median", latency_json(known.write_median)}, {"p95", latency_json(known.write_p95)}}}};
}

}  // namespace

void add_statistics(json& status, const std::map<NodeId, NodeStatistics>& statistics, Duration kept) {
  for (json& node : status["nodes"])
    for (const auto& [id, known] : statistics)
      if (id.hex() == node.at("id").get<std::string>()) node["statistics"] = statistics_json(known, kept);
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

std::string days_text(std::uint64_t seconds) {
  const std::uint64_t days = seconds / 86400;
  return days == 0 ? "less than a day" : plural(days, "day");
}

/// What is to be said of a node that is being emptied, was away for long, or whose answers were wrong; with what to do.
std::string care_text(const json& node, const json& care) {
  std::ostringstream out;
  const std::string indent(12, ' ');
  const std::string name = node.at("url").get<std::string>();
  const auto shards = care.at("shards").get<std::uint64_t>();
  if (const auto trust = care.at("trust").get<std::string>(); trust != "good") {
    const bool failing = trust == "failing";
    out << indent << (failing ? "fails" : "doubtful") << ": " << care.at("wrong") << " of " << care.at("audits") << " samples were wrong or gone\n";
    if (failing && shards > 0)
      out << indent << "it gets nothing new, and what it holds is rebuilt elsewhere: " << plural(shards, "shard") << " left\n";
    else if (failing)
      out << indent << "nothing rests on it any more: take it away\n";
    else
      out << indent << "check that disk; if this goes on, empty it: atoll node drain " << name << "\n";
  }
  if (const auto bad = care.at("bad_shards").get<std::uint64_t>(); bad != 0)
    out << indent << plural(bad, "shard") << " damaged or missing; replaced by themselves\n";
  if (node.at("state") == "absent") {
    out << indent << "away for " << days_text(care.at("away_seconds").get<std::uint64_t>()) << " of use, with " << plural(shards, "shard");
    if (shards != 0) out << (shards == 1 ? ", which is" : ", which are") << " rebuilt elsewhere if it stays away";
    out << "\n" << indent << "if it will not come back: atoll node remove " << name << "\n";
  }
  if (care.at("leaving").get<bool>())
    out << indent << (shards == 0 ? std::string("is empty: it may go") : "is being emptied: " + plural(shards, "shard") + " left") << "\n";
  return out.str();
}

/// "reads 12 ms (95 of 100 within 40 ms), writes 30 ms (80 ms); 3 of 512 calls failed": nothing while nothing is known.
std::string statistics_text(const json& known) {
  const auto milliseconds = [](const json& value) {
    std::ostringstream out;
    const double time = value.get<double>();
    out << std::fixed << std::setprecision(time < 10 ? 1 : 0) << time << " ms";
    return out.str();
  };
  std::string text;
  for (const auto& [key, noun] : {std::pair("read_ms", "reads "), std::pair("write_ms", "writes ")}) {
    const json& times = known.at(key);
    if (times.at("median").is_null()) continue;
    text += (text.empty() ? "" : ", ") + std::string(noun) + milliseconds(times.at("median")) + " (95 of 100 within " + milliseconds(times.at("p95")) + ")";
  }
  const auto count = [&](const char* key) { return known.at(key).get<std::uint64_t>(); };
  const std::uint64_t failed = count("failed") + count("timed_out");
  if (failed != 0) text += (text.empty() ? "" : "; ") + std::to_string(failed) + " of " + plural(count("answered") + failed, "call") + " failed";
  if (const auto late = count("late_puts"); late != 0) text += (text.empty() ? "" : "; ") + plural(late, "late put");
  if (const auto bad = count("bad_answers"); bad != 0) text += (text.empty() ? "" : "; ") + plural(bad, "answer") + " did not verify";
  return text.empty() ? text : std::string(12, ' ') + text + "\n";
}

/// "0.0002 %": two digits that count, and no exponent.
std::string percent_text(double loss) {
  const double percent = loss * 100;
  const int digits = percent >= 1 ? 1 : static_cast<int>(std::ceil(-std::log10(percent))) + 1;
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << percent;
  std::string text = out.str();
  while (text.ends_with('0')) text.pop_back();
  if (text.ends_with('.')) text.pop_back();
  return text + " %";
}

std::string care_summary(const json& care) {
  std::ostringstream out;
  const auto worst = care.at("worst_margin").get<int>();
  out << "  Margin:     ";
  if (worst < 0)
    out << "segment " << care.at("worst_segment") << " lacks " << plural(static_cast<std::uint64_t>(-worst), "shard") << " to be read: bring nodes back";
  else
    out << "segment " << care.at("worst_segment") << " has least: " << plural(static_cast<std::uint64_t>(worst), "shard") << " more than it needs";
  out << "\n";
  for (const json& entry : care.at("margins"))
    out << "              of " << entry.at("k") << "/" << entry.at("n") << ", " << plural(entry.at("segments").get<std::uint64_t>(), "segment") << " with margin "
        << entry.at("margin") << "\n";
  const double loss = care.at("yearly_loss").get<double>();
  const auto days = care.at("safe_days").get<std::uint64_t>();
  out << "  Risk:       " << (loss <= least_claimed_loss ? "at most " : "about ") << percent_text(std::max(loss, least_claimed_loss))
      << " a year that anything is lost; safe while away: "
      << (days >= 3650 ? "ten years or more" : days == 0 ? "not a day" : plural(days, "day")) << "\n";
  if (const auto jobs = care.at("waiting_jobs").get<std::uint64_t>(); jobs != 0)
    out << "  Repair:     " << plural(jobs, "segment") << " to be repaired or moved"
        << (care.at("no_place").get<bool>() ? ", and no node free to take their shards: add one" : "") << "\n";
  return out.str();
}

std::string age_text(std::uint64_t seconds) {
  if (seconds < 120) return "just now";
  if (seconds < 7200) return plural(seconds / 60, "minute") + " ago";
  if (seconds < 172800) return plural(seconds / 3600, "hour") + " ago";
  return plural(seconds / 86400, "day") + " ago";
}

/// The way back: whether the kit still leads there, and when that was last tried.
std::string papers_text(const json& status) {
  std::ostringstream out;
  const std::string name = status.at("name").get<std::string>();
  const std::string which = name == "default" ? "" : " " + name;
  if (const auto kit = status.find("kit"); kit != status.end()) {
    out << "  Kit:        ";
    if (kit->is_null())
      out << "none was made here; make one: atoll kit export" << which << " --pdf FILE\n";
    else if (kit->at("current").get<bool>())
      out << "current: " << kit->at("entries_good") << " of its " << kit->at("entries") << " addresses still lead to nodes\n";
    else
      out << "out of date: " << kit->at("entries_good") << " of its addresses still lead to nodes, " << kit->at("entries_needed") << " are needed; print a new one: atoll kit export" << which << " --pdf FILE\n";
  }
  if (const auto drill = status.find("drill"); drill != status.end()) {
    out << "  Drill:      ";
    if (drill->is_null())
      out << "coming back was never rehearsed: atoll recover --drill" << which << "\n";
    else if (drill->at("passed").get<bool>())
      out << "passed " << age_text(drill->at("age_seconds").get<std::uint64_t>()) << ": " << plural(drill->at("files").get<std::uint64_t>(), "file") << " came back, and would have with any "
          << drill->at("survives") << " of the nodes gone as well\n";
    else
      out << "FAILED " << age_text(drill->at("age_seconds").get<std::uint64_t>()) << ", with " << plural(drill->at("differences").get<std::uint64_t>(), "difference") << " and "
          << plural(drill->at("bad_shards").get<std::uint64_t>(), "bad shard") << "; try again: atoll recover --drill" << which << "\n";
  }
  return out.str();
}

}  // namespace

std::string flow_text(const json& flow) {
  const auto limit_text = [](const json& limit) {
    return limit == 0 ? std::string("as fast as it goes") : "at most " + human_bytes(limit) + "/s";
  };
  const std::string up = limit_text(flow.at("upload_limit"));
  const std::string sent = flow.at("paused").get<bool>() ? "nothing is sent to nodes until `atoll resume`" + (flow.at("upload_limit") == 0 ? "" : ", then " + up)
                                                         : "to nodes " + up;
  return sent + "; from nodes " + limit_text(flow.at("download_limit"));
}

std::string nodes_text(const json& nodes, bool asked) {
  std::ostringstream out;
  for (const json& node : nodes) {
    const auto state = asked ? node.at("state").get<std::string>() : std::string("not asked");
    out << "  " << state << std::string(state.size() < 10 ? 10 - state.size() : 1, ' ') << node.at("url").get<std::string>();
    if (asked && node.at("used_bytes").get<std::uint64_t>() != 0) out << "  (" << human_bytes(node.at("used_bytes")) << " used)";
    for (const auto& [key, value] : node.at("labels").items()) out << "  " << key << "=" << value.get<std::string>();
    out << "\n";
    if (const auto known = node.find("statistics"); asked && known != node.end()) {
      out << statistics_text(*known);
      if (const json& rate = known->at("requests_per_day"); rate.is_number()) out << "            asked about " << rate << " times a day\n";
    }
    if (const auto care = node.find("care"); asked && care != node.end()) out << care_text(node, *care);
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

  if (const json& untold = status.at("untold"); !untold.is_null()) {
    const auto changes = untold.at("changes").get<std::uint64_t>();
    out << "  Kept here:  ";
    if (changes == 0)
      out << "nothing: the new owner has all that was saved here";
    else
      out << plural(changes, "change") << " to " << plural(untold.at("files").get<std::uint64_t>(), "file") << ", with " << human_bytes(untold.at("bytes"))
          << " of data, which the new owner does not know of";
    out << (untold.at("complete").get<bool>() ? "\n" : "; and maybe more\n");
  }
  if (status.at("counters").value("forks_seen", std::uint64_t{0}) != 0)
    out << "  Fork:       an earlier owner told nodes of changes that are not here; until that is resolved nothing is removed from nodes.\n"
        << "              `atoll mount --take-over` on that computer brings them into the drive; `atoll fork bring` here does, where that one\n"
        << "              is lost; `atoll mount --take-over` here gives them up\n";
  if (status.at("counters").value("claims_contested", std::uint64_t{0}) != 0)
    out << "  Fork:       another computer took the drive over at the same time, and too few nodes are present to tell whose it is;\n"
        << "              nodes are told of nothing until then. Bring nodes back, or mount it with --take-over\n";
  const json& redundancy = status.at("redundancy");
  if (const auto text = status.at("survives").at("text").get<std::string>(); !text.empty())
    out << "  Survives:   " << text << "\n";
  if (const auto care = status.find("care"); care != status.end() && care->at("worst_segment").is_number()) out << care_summary(*care);
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
  if (const auto age = status.at("journal_unshipped_seconds").get<std::uint64_t>(); mounted && age != 0)
    out << "  Journal:    the nodes have not been told of the changes of the last " << age << " s\n";
  out << "  Holds:      " << human_bytes(status.at("logical_bytes")) << " in " << plural(status.at("files").get<std::uint64_t>(), "file")
      << "; on nodes " << human_bytes(status.at("stored_bytes"));
  if (const auto garbage = status.at("garbage_bytes").get<std::uint64_t>(); garbage != 0)
    out << " and " << human_bytes(garbage) << " waiting for gc";
  out << "; cached here " << human_bytes(status.at("cache_bytes")) << "\n";
  if (const auto flow = status.find("flow"); flow != status.end() && (flow->at("paused").get<bool>() || flow->at("upload_limit") != 0 || flow->at("download_limit") != 0))
    out << "  Line:       " << (flow->at("paused").get<bool>() ? "paused: " : "") << flow_text(*flow) << "\n";
  out << papers_text(status);
  const json& nodes = status.at("nodes");
  out << "  Nodes:      " << nodes.size() << ", " << redundancy.at("k") << " of " << redundancy.at("n") << " shards bring data back\n";
  std::istringstream lines(nodes_text(nodes, mounted));
  std::string line;
  while (std::getline(lines, line)) out << "  " << line << "\n";
  return out.str();
}

}  // namespace atl
