// `atoll key`: what opens a drive at home, and with what its data is sealed from now on. Main thread of a command.
#pragma once

#include <functional>
#include <string>

#include "fs/command/exit_code.h"

namespace CLI {
class App;
}

namespace atl {

struct KeyPassphraseArguments {
  std::string name = "default";
  std::string passphrase_file;      // the present one; empty: asked if there is one
  std::string new_passphrase_file;  // empty: asked
  bool remove = false;
  bool json = false;
};

struct KeyRotateArguments {
  std::string name = "default";
  std::string passphrase_file;
  bool new_recovery_key = false;
  std::string kit;  // for a new recovery key; empty: beside the state folder
  bool json = false;
};

/// Sets, changes or removes the passphrase. The drive is not mounted meanwhile: Exit::busy.
Outcome<> run_key_passphrase(const KeyPassphraseArguments& arguments);
/// What is saved from now on is sealed under a new key. Likewise.
Outcome<> run_key_rotate(const KeyRotateArguments& arguments);

/// Adds them to the command line; `command` becomes what the person asked for.
void add_key_commands(CLI::App& app, std::function<Outcome<>()>& command);

}  // namespace atl
