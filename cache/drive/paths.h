// Where things lie in a drive's state folder. FORMAT.md, "State folder".
#pragma once

#include <string>

namespace atl {

inline std::string journal_directory(const std::string& state) { return state + "/journal"; }
inline std::string checkpoint_directory(const std::string& state) { return state + "/checkpoint"; }
inline std::string heads_directory(const std::string& state) { return state + "/heads"; }
/// Heads that other owners told nodes of: forks, and those that are to leave the nodes.
inline std::string forks_directory(const std::string& state) { return state + "/forks"; }
inline std::string index_path(const std::string& state) { return state + "/index.db"; }

/// Left by a drive that found its index damaged: the next mount makes it anew.
inline std::string index_damaged_path(const std::string& state) { return state + "/index.damaged"; }

}  // namespace atl
