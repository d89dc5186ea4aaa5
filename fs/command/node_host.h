// The commands of who runs a node for others: `atoll node serve`, `invite`, `tenants`, `scrub`. As commands.h says.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "fs/command/exit_code.h"

namespace CLI {
class App;
}

namespace atl {

struct NodeServeArguments {
  std::string data;
  std::string listen;
  std::string advertise;  // empty: where it listens
  std::string metrics;    // empty: none
  std::string capacity;
  std::string trash_for;
  std::vector<std::string> labels;  // KEY=VALUE
};

struct NodeInviteArguments {
  std::string data;
  std::string quota;    // empty: as much as the node has
  std::string expires;
  std::string label;    // for the node's owner to tell tenants apart
};

struct NodeDataArguments {
  std::string data;
  bool json = false;
};

/// Serves until it is told to stop.
Outcome<> run_node_serve(const NodeServeArguments& arguments);
Outcome<> run_node_invite(const NodeInviteArguments& arguments);
Outcome<> run_node_tenants(const NodeDataArguments& arguments);
Outcome<> run_node_scrub(const NodeDataArguments& arguments);

/// Adds these commands below `node`; `command` is set to what the command line asks for. Both outlive parsing and running.
void add_node_host_commands(CLI::App& node, std::function<Outcome<>()>& command);

}  // namespace atl
