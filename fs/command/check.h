// `atoll check`. As commands.h says.
#pragma once

#include <functional>
#include <string>

#include "fs/command/exit_code.h"

namespace CLI {
class App;
}

namespace atl {

struct CheckArguments {
  std::string name = "default";
  unsigned read_percent = 0;
  bool repair = false;
  bool from_start = false;
  std::string passphrase_file;  // of a drive that is not mounted
  bool json = false;
};

/// On the running drive, or on its folder where none runs: then it is opened as for reading, with --repair as by a mount.
Outcome<> run_check(const CheckArguments& arguments);
void add_check_command(CLI::App& app, std::function<Outcome<>()>& command);

}  // namespace atl
