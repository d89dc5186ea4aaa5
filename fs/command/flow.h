// What a running drive may take of the line: `atoll pause`, `resume` and `limit`, and the request of the control socket
// behind them, `flow {paused, upload_limit, download_limit}`: each optional, limits in bytes per second, 0 for none. It
// answers with all three as they are now. Lasts until the drive is unmounted; what a mount begins with is configuration.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "engine/flow.h"
#include "fs/command/exit_code.h"

namespace CLI {
class App;
}

namespace atl {

struct FlowArguments {
  std::string name = "default";
  std::optional<bool> paused;
  std::string up;    // a rate, or "none"; empty: as it is
  std::string down;  // the same
  bool json = false;
};

Outcome<> run_flow(const FlowArguments& arguments);

/// Adds the three to the command line; `command` becomes what the person asked for.
void add_flow_commands(CLI::App& app, std::function<Outcome<>()>& command);

/// As `status --json` shows it.
nlohmann::json flow_json(const Flow& flow);
/// Applies a request. Thread-safe. Code::invalid, changing nothing, for values that are none.
Result<nlohmann::json> change_flow(FlowControl& control, const nlohmann::json& request);

}  // namespace atl
