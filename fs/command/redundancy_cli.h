// `atoll redundancy` and `atoll redundancy set`. As commands.h says.
#pragma once

#include <functional>
#include <string>

#include "fs/command/exit_code.h"

namespace CLI {
class App;
}

namespace atl {

struct RedundancyArguments {
  std::string name = "default";
  std::string wanted;           // "3/6"
  int protect_min = 0;          // 0: by the redundancy
  std::string passphrase_file;  // of a drive that is not mounted
  bool json = false;
};

/// What the drive has, what still lies otherwise, and what its nodes suggest.
Outcome<> run_redundancy_show(const RedundancyArguments& arguments);
Outcome<> run_redundancy_set(const RedundancyArguments& arguments);
void add_redundancy_commands(CLI::App& app, std::function<Outcome<>()>& command);

}  // namespace atl
