// The commands that only ask a running drive for something: status, sync, cache drop, gc, node list; and version.
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/base/bytes.h"
#include "fs/command/commands.h"
#include "fs/command/running_drive.h"
#include "fs/command/status_report.h"
#include "fs/command/terminal.h"

namespace atl {

using nlohmann::json;

namespace {

std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

Outcome<json> ask(const std::string& name, const json& request, const std::function<void(const json&)>& progress = {}) {
  auto places = find_drive(name);
  if (!places) return tl::unexpected<Failure>(places.error());
  auto client = reach_drive(*places);
  if (!client) return tl::unexpected<Failure>(client.error());
  auto answer = (*client)->ask(request, answer_patience, progress);
  if (!answer) return give_up(answer.error());
  return *answer;
}

}  // namespace

Outcome<> run_status(const std::string& name, bool as_json) {
  auto places = find_drive(name);
  if (!places) return tl::unexpected<Failure>(places.error());
  auto status = drive_status(*places);
  if (!status) return tl::unexpected<Failure>(status.error());
  std::cout << (as_json ? dump(*status) + "\n" : status_text(*status));
  return {};
}

Outcome<> run_node_list(const std::string& name, bool as_json) {
  auto places = find_drive(name);
  if (!places) return tl::unexpected<Failure>(places.error());
  auto status = drive_status(*places);
  if (!status) return tl::unexpected<Failure>(status.error());
  std::cout << (as_json ? dump(nodes_json(*status)) + "\n" : nodes_text(status->at("nodes"), status->at("mounted_at").is_string()));
  return {};
}

Outcome<> run_sync(const SyncArguments& arguments) {
  json request{{"do", "sync"}, {"level", arguments.level}};
  if (arguments.timeout_seconds) request["timeout_s"] = *arguments.timeout_seconds;
  ProgressBar bar;
  auto answer = ask(arguments.name, request, [&](const json& progress) {
    bar.show(progress.value("done", std::uint64_t{0}), progress.value("total", std::uint64_t{0}));
  });
  if (!answer) return tl::unexpected<Failure>(answer.error());
  return {};
}

Outcome<> run_cache_drop(const std::string& name) {
  auto answer = ask(name, {{"do", "drop_cache"}});
  if (!answer) return tl::unexpected<Failure>(answer.error());
  std::cout << "Dropped " << human_bytes(answer->value("bytes", std::uint64_t{0})) << " of cached copies.\n";
  return {};
}

Outcome<> run_gc(const std::string& name, bool wait) {
  auto answer = ask(name, {{"do", "gc"}, {"wait", wait}});
  if (!answer) return tl::unexpected<Failure>(answer.error());
  return {};
}

Outcome<> run_node_drain(const NodeDrainArguments& arguments) {
  ProgressBar bar;
  auto answer = ask(arguments.name, {{"do", "drain"}, {"node", arguments.node}, {"leaving", !arguments.stay}, {"wait", arguments.wait}}, [&](const json& progress) {
    bar.show(progress.value("done", std::uint64_t{0}), progress.value("total", std::uint64_t{0}));
  });
  if (!answer) return tl::unexpected<Failure>(answer.error());
  const auto url = answer->value("url", std::string());
  if (arguments.stay) {
    std::cout << url << " stays, and gets new data again.\n";
  } else if (arguments.wait) {
    std::cout << url << " holds nothing any more that the drive needs.\n";
  } else {
    std::cout << url << " is being emptied; `atoll status` tells how far that is.\n";
  }
  return {};
}

Outcome<> run_node_remove(const std::string& name, const std::string& node) {
  ProgressBar bar;
  auto answer = ask(name, {{"do", "remove"}, {"node", node}}, [&](const json& progress) {
    bar.show(progress.value("done", std::uint64_t{0}), progress.value("total", std::uint64_t{0}));
  });
  if (!answer) return tl::unexpected<Failure>(answer.error());
  std::cout << answer->value("url", std::string()) << " is no node of the drive any more; what still lies there is of no use to anybody.\n";
  return {};
}

Outcome<> run_version(bool as_json) {
  // Each format carries its number in what it describes (FORMAT.md); this program reads and writes these.
  const json formats{{"state_folder", 1}, {"keyring", 1}, {"journal", 1}, {"index", 1}, {"segment", 1},
                     {"extent", 1},       {"shard", 1},   {"checkpoint", 1}, {"recovery_kit", 2},
                     {"metadata_object", 1}, {"head", 1}};
  if (as_json) {
    std::cout << dump({{"schema", 1}, {"version", ATOLL_VERSION}, {"reads", formats}, {"writes", formats}}) << "\n";
    return {};
  }
  std::cout << "atoll " << ATOLL_VERSION << "\nReads and writes these formats:\n";
  for (const auto& [name, number] : formats.items()) std::cout << "  " << name << " " << number << "\n";
  return {};
}

}  // namespace atl
