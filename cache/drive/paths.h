// Where things lie in a drive's state folder. FORMAT.md, "State folder".
#pragma once

#include <string>

namespace atl {

inline std::string journal_directory(const std::string& state) { return state + "/journal"; }
inline std::string checkpoint_directory(const std::string& state) { return state + "/checkpoint"; }
inline std::string index_path(const std::string& state) { return state + "/index.db"; }

}  // namespace atl
