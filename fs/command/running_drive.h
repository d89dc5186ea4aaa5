// How commands reach a drive: its running process, or what its folder says. Blocking.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "fs/command/exit_code.h"
#include "fs/config/config.h"
#include "fs/config/places.h"
#include "fs/control/control_client.h"

namespace atl {

/// Where a drive lies; Exit::no_drive if there is none of that name.
Outcome<Places> find_drive(const std::string& name);
/// Reads its configuration file into `config`, if there is one; Exit::usage for what is wrong in it.
Outcome<> load_config(const Places& places, Config& config);
/// Its running process; Exit::no_drive if it is not mounted.
Outcome<std::unique_ptr<ControlClient>> reach_drive(const Places& places);

/// What `status --json` prints of a drive, mounted or not.
Outcome<nlohmann::json> drive_status(const Places& places);

/// Longer than any single answer takes that has no progress of its own.
inline constexpr auto answer_patience = std::chrono::hours(24);

}  // namespace atl
