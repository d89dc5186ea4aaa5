// Where a drive's things lie on this computer, by name and environment. Touches no disk. Thread-safe.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "engine/base/result.h"

namespace atl {

/// The environment: nullptr for a variable that is not set.
using Variables = std::function<const char*(const char*)>;

struct Places {
  std::string name;
  std::string home;         // holds all drives of this user: $ATOLL_HOME, else atoll/ in the XDG data directory
  std::string state;        // HOME/NAME
  std::string nodes;        // HOME/NAME.nodes: the embedded nodes
  std::string config_file;  // $XDG_CONFIG_HOME/atoll/NAME.toml; without it $ATOLL_HOME/NAME.toml, /etc/atoll for root
  std::string log_file;     // STATE/log
  std::string socket;       // STATE/control.sock: of no use to a machine that shares the folder, but found by any
                            // environment that finds the drive
};

/// 1 to 64 letters, digits, '.', '_', '-', the first a letter or digit; not ending in ".nodes". Code::invalid.
Result<> check_drive_name(std::string_view name);

/// Code::invalid for a bad name, or where neither ATOLL_HOME nor HOME says where to look.
Result<Places> find_places(const std::string& name, const Variables& variables, bool root);
/// With this process's environment.
Result<Places> find_places(const std::string& name);

}  // namespace atl
