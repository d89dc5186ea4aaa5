// `atoll delegate`: others who audit and repair a drive without being able to read it. Main thread of a command.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <stop_token>
#include <string>
#include <vector>

#include "cache/drive/drive.h"
#include "fs/command/exit_code.h"

namespace CLI {
class App;
}

namespace atl {

struct DelegateExportArguments {
  std::string name = "default";
  std::string file;  // new
  bool json = false;
};

/// Makes a delegate of a mounted drive and writes its file.
Outcome<> run_delegate_export(const DelegateExportArguments& arguments);
/// Becomes the program atoll-delegate, with these words; returns only if it cannot be run.
Outcome<> run_delegate_program(const std::vector<std::string>& words);

/// Adds them to the command line; `command` becomes what the person asked for.
void add_delegate_commands(CLI::App& app, std::function<Outcome<>()>& command);

/// What the mounted drive answers to `delegate_export`: `file`, the content of the delegate's file.
Result<nlohmann::json> export_delegate(Drive& drive, const std::string& name, std::stop_token stop);
/// Adds the drive's delegates to what `status --json` prints.
void add_delegates(nlohmann::json& status, Drive& drive);

}  // namespace atl
