#include "fs/command/daemon_requests.h"

#include <nlohmann/json.hpp>

#include "engine/base/posix_disk.h"
#include "fs/command/check_report.h"
#include "fs/command/delegate.h"
#include "fs/command/drill.h"
#include "fs/command/flow.h"
#include "fs/command/node_changes.h"
#include "fs/command/papers.h"
#include "fs/command/status_report.h"

namespace atl {

using nlohmann::json;

namespace {

constexpr auto write_back_bound = std::chrono::seconds(5);
/// A node far away greets and answers in half a second; one that has frozen is told of as absent a while later.
constexpr auto check_patience = std::chrono::milliseconds(500);

template <typename T>
T value_or(const json& request, const char* key, T fallback) {
  const auto found = request.find(key);
  if (found == request.end()) return fallback;
  try {
    return found->get<T>();
  } catch (const json::exception&) {
    return fallback;
  }
}

Result<json> sync(Running& running, const json& request, const ProgressSink& progress, std::stop_token stop) {
  const auto name = value_or<std::string>(request, "level", "protected");
  SyncLevel level = SyncLevel::protected_;
  if (name == "local")
    level = SyncLevel::local;
  else if (name == "full")
    level = SyncLevel::full;
  else if (name != "protected")
    return fail(Code::invalid, "unknown level " + name);
  std::optional<MonotonicTime> deadline;
  const double seconds = value_or<double>(request, "timeout_s", -1);
  if (seconds >= 0 && seconds < 1e9)
    deadline = running.clock.now() + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
  // What the kernel still holds was saved as well, as far as the person can see.
  if (auto written = running.session.write_back(write_back_bound); !written && level == SyncLevel::local) return fail(written.error());
  // Nobody waits for what will not happen: what is there already is told, and else why it does not come.
  const bool paused = level != SyncLevel::local && running.flow.flow().paused;
  if (paused) deadline = running.clock.now();
  auto done = running.drive.sync(
      level, deadline, [&](const SyncProgress& now) { progress({{"done", now.bytes_done}, {"total", now.bytes_total}}); }, stop);
  if (!done && paused && done.error().code != Code::cancelled)
    return fail(Code::timed_out, "the drive is paused: not everything that was saved is on its nodes", "atoll resume lets it be sent");
  if (!done) return fail(done.error());
  return json::object();
}

Result<json> stop(Running& running, const json& request, const ProgressSink& progress, std::stop_token token) {
  if (value_or(request, "sync", false)) {
    auto done = sync(running, {{"level", "protected"}}, progress, token);
    if (!done) return done;
  }
  const bool lazy = value_or(request, "lazy", false);
  static_cast<void>(running.session.write_back(write_back_bound));
  if (auto detached = running.session.detach(lazy); !detached) return fail(detached.error());
  // After the detach nothing new comes (unless it was lazy); what came is committed before the count is told.
  static_cast<void>(running.drive.commit());
  const std::uint64_t staged = running.drive.status().staged_bytes;
  running.stop();
  return json{{"staged_bytes", staged}};
}

Result<json> drain(Running& running, const json& request, const ProgressSink& progress, std::stop_token token) {
  auto node = find_node(running.drive, value_or<std::string>(request, "node", {}));
  if (!node) return fail(node.error());
  auto done = running.drive.care().drain(
      node->id, value_or(request, "leaving", true), value_or(request, "wait", false),
      [&](const CareProgress& now) { progress({{"done", now.done}, {"total", now.total}}); }, token);
  if (!done) return fail(done.error());
  return json{{"url", node->url}};
}

Result<json> remove(Running& running, const json& request, const ProgressSink& progress, std::stop_token token) {
  auto node = find_node(running.drive, value_or<std::string>(request, "node", {}));
  if (!node) return fail(node.error());
  auto done = running.drive.care().remove_node(node->id, [&](const CareProgress& now) { progress({{"done", now.done}, {"total", now.total}}); }, token);
  if (!done) return fail(done.error());
  return json{{"url", node->url}};
}

}  // namespace

json report_json(const FileReport& report) {
  json extents = json::array();
  for (const ExtentReport& extent : report.extents)
    extents.push_back({{"offset", extent.file_offset},
                       {"length", extent.length},
                       {"extent", extent.extent.value},
                       {"segment", extent.segment.value},
                       {"segment_offset", extent.segment_offset}});
  json segments = json::array();
  for (const SegmentReport& segment : report.segments) {
    json shards = json::array();
    for (const ShardReport& shard : segment.shards)
      shards.push_back({{"shard", shard.shard.value},
                        {"node", shard.node.hex()},
                        {"url", shard.node_url},
                        {"object", shard.object_name},
                        {"mac", shard.mac_state}});
    segments.push_back({{"segment", segment.segment.value},
                        {"bytes", segment.bytes},
                        {"local", segment.local},
                        {"attempt", segment.attempt ? json(segment.attempt->hex()) : json()},
                        {"shards", std::move(shards)}});
  }
  return {{"schema", 1},
          {"inode", report.attributes.inode.value},
          {"size", report.attributes.size},
          {"allocated_bytes", report.attributes.allocated_bytes},
          {"extents", std::move(extents)},
          {"segments", std::move(segments)}};
}

ControlHandler make_control_handler(Running running) {
  return [since = running.clock.now(), running = std::move(running)](const json& request, const ProgressSink& progress, std::stop_token token) mutable -> Result<json> {
    const auto what = request.at("do").get<std::string>();
    // What is told, or decided, of nodes is to be so now, also where they are not asked for minutes.
    const bool is_about_nodes = what == "status" || what == "drain" || what == "remove" || what == "redundancy_set";
    if (is_about_nodes && running.checks != nullptr) running.checks->check_nodes(check_patience);
    if (what == "status") {
      DriveStatus status = running.drive.status();
      if (running.is_stopping()) status.state = DriveState::stopping;
      json answer = status_json(status, running.places.name, running.session.mount_point());
      if (running.statistics != nullptr) add_statistics(answer, running.statistics->statistics(), running.clock.now() - since);
      answer["flow"] = flow_json(running.flow.flow());
      add_care(answer, running.drive.care().status());
      add_delegates(answer, running.drive);
      PosixDisk disk;
      add_papers(answer, disk, running.places.state, running.clock.wall_now());
      return answer;
    }
    if (what == "drain") return drain(running, request, progress, token);
    if (what == "node_add" || what == "node_label" || what == "redundancy_set" || what == "devices" || what == "revoke")
      return change_nodes(running.drive, running.credentials, running.clock, running.random, request);
    if (what == "delegate_export") return export_delegate(running.drive, running.places.name, token);
    if (what == "flow") return change_flow(running.flow, request);
    if (what == "remove") return remove(running, request, progress, token);
    if (what == "drill") {
      // What the kernel still holds would be lost as well: it is handed over first.
      static_cast<void>(running.session.write_back(write_back_bound));
      return hold_drill(running.places, running.drive, running.keyring, value_or(request, "all", false), [&](const json& now) { progress(now); }, token);
    }
    if (what == "check") return check_drive(running.drive, request, progress, token);
    if (what == "sync") return sync(running, request, progress, token);
    if (what == "stop") return stop(running, request, progress, token);
    if (what == "drop_cache") {
      auto bytes = running.drive.drop_cache();
      if (!bytes) return fail(bytes.error());
      if (auto dropped = running.session.drop_pages(write_back_bound); !dropped) return fail(dropped.error());
      // What the kernel wrote back meanwhile may be on nodes already.
      auto more = running.drive.drop_cache();
      if (!more) return fail(more.error());
      return json{{"bytes", *bytes + *more}};
    }
    if (what == "gc") {
      if (auto done = running.drive.collect_garbage(value_or(request, "wait", false), token); !done) return fail(done.error());
      return json::object();
    }
    if (what == "inspect") {
      const auto inode = value_or<std::uint64_t>(request, "inode", 0);
      auto report = running.drive.inspect(InodeNumber(inode), value_or(request, "verify", true));
      if (!report) return fail(report.error());
      return report_json(*report);
    }
    return fail(Code::invalid, "unknown request " + what.substr(0, 40));
  };
}

}  // namespace atl
