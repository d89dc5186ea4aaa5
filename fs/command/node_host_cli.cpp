// How the commands of a node's host are written on the command line.
#include <CLI/CLI.hpp>
#include <memory>

#include "fs/command/node_host.h"

namespace atl {

namespace {

constexpr const char* data_help = "the node's data folder";

CLI::App* add_data_command(CLI::App& node, std::function<Outcome<>()>& command, const char* name, const char* help,
                           Outcome<> (*run)(const NodeDataArguments&)) {
  auto arguments = std::make_shared<NodeDataArguments>();
  auto* const added = node.add_subcommand(name, help);
  added->add_option("--data", arguments->data, data_help)->required();
  added->add_flag("--json", arguments->json, "as JSON");
  added->callback([=, &command] { command = [=] { return run(*arguments); }; });
  return added;
}

}  // namespace

void add_node_host_commands(CLI::App& node, std::function<Outcome<>()>& command) {
  auto serve = std::make_shared<NodeServeArguments>();
  auto* const serving = node.add_subcommand("serve", "Be a node: store shards for other people's drives");
  serving->add_option("--data", serve->data, "the folder that holds everything; made if it is absent")->required();
  serving->add_option("--listen", serve->listen, "ADDR:PORT to listen on, such as [::]:4711")->required();
  serving->add_option("--capacity", serve->capacity, "how much to store at most, such as 500GiB")->required();
  serving->add_option("--advertise", serve->advertise, "HOST:PORT under which drives reach this node (default: where it listens)");
  serving->add_option("--label", serve->labels, "KEY=VALUE: what fails together, such as country=de or operator=anna; repeated")
      ->take_all()->allow_extra_args(false);
  serving->add_option("--trash-for", serve->trash_for, "how long removed objects are kept: seconds, or 12h, 7d (default: 7d)");
  serving->add_option("--metrics", serve->metrics, "ADDR:PORT of the loopback for /metrics (Prometheus) and /healthz");
  serving->callback([=, &command] { command = [=] { return run_node_serve(*serve); }; });

  auto invite = std::make_shared<NodeInviteArguments>();
  auto* const inviting = node.add_subcommand("invite", "Print one line that lets a friend's drive in, once");
  inviting->add_option("--data", invite->data, data_help)->required();
  inviting->add_option("--quota", invite->quota, "how much it may store (default: whatever there is)");
  inviting->add_option("--expires", invite->expires, "until when it can be used: seconds, or 12h, 7d (default: 7d)");
  inviting->add_option("--for", invite->label, "whom it is for, as `node tenants` shows it");
  inviting->callback([=, &command] { command = [=] { return run_node_invite(*invite); }; });

  add_data_command(node, command, "tenants", "Who stores how much on this node", run_node_tenants);
  add_data_command(node, command, "scrub", "Read and verify every object now, and give up what has rotted", run_node_scrub);
}

}  // namespace atl
