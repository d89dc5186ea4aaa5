#include "fs/command/flow.h"

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "fs/command/running_drive.h"
#include "fs/command/status_report.h"
#include "fs/config/quantities.h"

namespace atl {

using nlohmann::json;

json flow_json(const Flow& flow) {
  return {{"paused", flow.paused}, {"upload_limit", flow.upload_limit}, {"download_limit", flow.download_limit}};
}

Result<json> change_flow(FlowControl& control, const json& request) {
  Flow flow = control.flow();
  if (const auto paused = request.find("paused"); paused != request.end()) {
    if (!paused->is_boolean()) return fail(Code::invalid, "\"paused\" is true or false");
    flow.paused = paused->get<bool>();
  }
  for (const auto& [key, limit] : {std::pair("upload_limit", &flow.upload_limit), std::pair("download_limit", &flow.download_limit)}) {
    const auto value = request.find(key);
    if (value == request.end()) continue;
    if (!value->is_number_integer() || *value < 0) return fail(Code::invalid, std::string("\"") + key + "\" is a number of bytes per second, 0 for none");
    *limit = value->get<std::uint64_t>();
  }
  control.set_flow(flow);
  return flow_json(control.flow());
}

Outcome<> run_flow(const FlowArguments& arguments) {
  json request{{"do", "flow"}};
  if (arguments.paused) request["paused"] = *arguments.paused;
  for (const auto& [key, text] : {std::pair("upload_limit", &arguments.up), std::pair("download_limit", &arguments.down)}) {
    if (text->empty()) continue;
    auto rate = parse_rate(*text);
    if (!rate) return give_up(rate.error(), Exit::usage);
    request[key] = *rate;
  }
  auto places = find_drive(arguments.name);
  if (!places) return tl::unexpected<Failure>(places.error());
  auto client = reach_drive(*places);
  if (!client) return tl::unexpected<Failure>(client.error());
  auto flow = (*client)->ask(request, std::chrono::seconds(20));
  if (!flow) return give_up(flow.error());
  if (arguments.json)
    std::cout << flow->dump() << "\n";
  else
    std::cout << arguments.name << ": " << flow_text(*flow) << ".\n";
  return {};
}

void add_flow_commands(CLI::App& app, std::function<Outcome<>()>& command) {
  const char* const name_help = "the drive's name (default: default)";
  const char* const json_help = "print what holds now, and errors, as JSON";
  for (const bool paused : {true, false}) {
    auto arguments = std::make_shared<FlowArguments>();
    arguments->paused = paused;
    auto* const added = paused ? app.add_subcommand("pause", "Send nothing to nodes until `atoll resume`; reading goes on")
                               : app.add_subcommand("resume", "Send again, after `atoll pause`");
    added->add_option("NAME", arguments->name, name_help);
    added->add_flag("--json", arguments->json, json_help);
    added->callback([=, &command] { command = [=] { return run_flow(*arguments); }; });
  }
  auto arguments = std::make_shared<FlowArguments>();
  auto* const limit = app.add_subcommand("limit", "Show or change how much of the line a mounted drive takes");
  limit->add_option("NAME", arguments->name, name_help);
  limit->add_option("--up", arguments->up, "bytes per second to nodes, such as 2MiB, or none");
  limit->add_option("--down", arguments->down, "bytes per second from nodes, or none");
  limit->add_flag("--json", arguments->json, json_help);
  limit->callback([=, &command] { command = [=] { return run_flow(*arguments); }; });
}

}  // namespace atl
