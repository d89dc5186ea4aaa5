// `atoll fork list` and `atoll fork bring`: states of a drive that nodes hold beside its own, and how one comes into it
// though the computer that told it is lost (cache/recovery/fork.h).
#pragma once

#include <functional>
#include <string>

#include "fs/command/exit_code.h"

namespace CLI {
class App;
}

namespace atl {

struct ForkArguments {
  std::string name = "default";
  std::string head;             // EPOCH-GENERATION; empty: the only one
  std::string passphrase_file;
  bool json = false;
};

/// Asks the nodes; the drive may be mounted.
Outcome<> run_fork_list(const ForkArguments& arguments);
/// The drive is not mounted, and this computer owns it. What the fork has comes into a folder of its own; then an epoch is
/// claimed, which resolves all forks that this computer knew.
Outcome<> run_fork_bring(const ForkArguments& arguments);
void add_fork_commands(CLI::App& app, std::function<Outcome<>()>& command);

}  // namespace atl
