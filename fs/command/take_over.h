// `atoll mount --take-over`: the drive comes back to this computer from whoever took it over (cache/recovery/take_over.h).
#pragma once

#include <string>

#include "fs/command/exit_code.h"
#include "fs/config/places.h"

namespace atl {

/// All of it but the mount; says on standard output what happened. The old folder is whole until the new one, which is
/// whole then, takes its place in one step. Main thread of a command.
Outcome<> take_over_drive(const Places& places, const std::string& passphrase_file);

}  // namespace atl
