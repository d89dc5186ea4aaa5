#include "fs/command/check.h"

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "fs/command/check_report.h"
#include "fs/command/opened_drive.h"
#include "fs/command/running_drive.h"
#include "fs/command/terminal.h"

namespace atl {

using nlohmann::json;

namespace {

/// For nodes to be found, where no process has found them already.
constexpr auto node_patience = std::chrono::seconds(10);

Outcome<json> check_folder(const Places& places, const CheckArguments& arguments, const json& request, const ProgressSink& progress) {
  Config config;
  if (auto loaded = load_config(places, config); !loaded) return tl::unexpected<Failure>(loaded.error());
  config.drive.read_only = !arguments.repair;
  auto opened = OpenedDrive::open(places, arguments.passphrase_file, config.drive);
  if (!opened) return tl::unexpected<Failure>(opened.error());
  if (auto connected = (*opened)->connect(node_patience); !connected) return give_up(connected.error());
  auto report = check_drive((*opened)->drive(), request, progress, {});
  auto closed = (*opened)->close();
  if (!report) return give_up(report.error());
  if (!closed) return give_up(closed.error());
  if (!(*report)["index"]["at_mount"].get<bool>()) return *report;
  // The next opening makes the index anew: here it is.
  opened->reset();
  opened = OpenedDrive::open(places, arguments.passphrase_file, config.drive);
  if (!opened) return tl::unexpected<Failure>(opened.error());
  if (auto connected = (*opened)->connect(node_patience); !connected) return give_up(connected.error());
  report = check_drive((*opened)->drive(), request, progress, {});
  closed = (*opened)->close();
  if (!report) return give_up(report.error());
  if (!closed) return give_up(closed.error());
  return *report;
}

}  // namespace

Outcome<> run_check(const CheckArguments& arguments) {
  auto places = find_drive(arguments.name);
  if (!places) return tl::unexpected<Failure>(places.error());
  const json request{{"do", "check"}, {"read_percent", arguments.read_percent}, {"repair", arguments.repair}, {"from_start", arguments.from_start}};
  json report;
  {
    ProgressBar bar;
    const auto show = [&bar](const json& now) {
      bar.show(now.value("done", std::uint64_t{0}), now.value("total", std::uint64_t{0}));
      return true;
    };
    auto client = ControlClient::connect(places->socket);
    if (client) {
      auto answer = (*client)->ask(request, answer_patience, show);
      if (!answer) return give_up(answer.error());
      report = std::move(*answer);
    } else if (client.error().code != Code::not_found) {
      return give_up(client.error());
    } else {
      auto answer = check_folder(*places, arguments, request, show);
      if (!answer) return tl::unexpected<Failure>(answer.error());
      report = std::move(*answer);
    }
  }
  report["name"] = arguments.name;
  if (arguments.json)
    std::cout << report.dump(-1, ' ', false, json::error_handler_t::replace) << "\n";
  else
    std::cout << check_text(report);
  return check_outcome(report);
}

void add_check_command(CLI::App& app, std::function<Outcome<>()>& command) {
  auto arguments = std::make_shared<CheckArguments>();
  auto read = std::make_shared<std::optional<unsigned>>();
  auto* const check = app.add_subcommand("check", "Compare index, journal and nodes, and read what nodes hold");
  check->add_option("NAME", arguments->name, "the drive's name (default: default)");
  auto* const percent = check->add_option("--read-data", *read, "read and verify every byte on the nodes, or so many percent (--read-data=10)")
      ->expected(0, 1)->check(CLI::Range(1U, 100U))->type_name("PCT");
  check->add_flag("--repair", arguments->repair, "return when what can be mended is");
  check->add_flag("--from-start", arguments->from_start, "read all over again, where an earlier check was interrupted");
  check->add_option("--passphrase-file", arguments->passphrase_file, "where the drive is not mounted: read the passphrase from this file, - asks");
  check->add_flag("--json", arguments->json, "the report, and errors, as JSON");
  check->callback([=, &command] {
    if (percent->count() > 0) arguments->read_percent = read->value_or(100);
    command = [=] { return run_check(*arguments); };
  });
}

}  // namespace atl
