// The commands that change who stores for a drive, mounted or not: `atoll node add`, `label`,
// `devices` and `revoke`. As commands.h says.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "fs/command/exit_code.h"

namespace CLI {
class App;
}

namespace atl {

struct NodeAddArguments {
  std::string name = "default";
  std::string node;                 // dir:FOLDER, atoll://HOST:PORT/ID or an invite
  std::vector<std::string> labels;  // KEY=VALUE
  std::string passphrase_file;      // of a drive that is not mounted
  bool json = false;                // errors only
};

struct NodeLabelArguments {
  std::string name = "default";
  std::string node;                  // its address, or the beginning of its id
  std::vector<std::string> labels;   // KEY=VALUE
  std::vector<std::string> removed;  // KEY
  std::string passphrase_file;
  bool json = false;
};

/// Does a change (node_changes.h) on the running drive, or on its folder where none runs.
Outcome<nlohmann::json> change_drive(const std::string& name, const std::string& passphrase_file, const nlohmann::json& request);

struct NodeDevicesArguments {
  std::string name = "default";
  std::string revoked;  // a device's id, or its beginning; empty: they are listed
  std::string passphrase_file;
  bool json = false;
};

Outcome<> run_node_add(const NodeAddArguments& arguments);
Outcome<> run_node_label(const NodeLabelArguments& arguments);
Outcome<> run_node_devices(const NodeDevicesArguments& arguments);
Outcome<> run_node_revoke(const NodeDevicesArguments& arguments);

/// As add_node_host_commands (node_host.h).
void add_node_member_commands(CLI::App& node, std::function<Outcome<>()>& command);

}  // namespace atl
