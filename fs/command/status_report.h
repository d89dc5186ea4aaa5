// A drive's status, for programs and for people. Pure; thread-safe.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "cache/drive/types.h"

namespace atl {

/// What `atoll status --json` prints. `mounted_at` is null for a drive that is not mounted.
nlohmann::json status_json(const DriveStatus& status, const std::string& name, const std::string& mounted_at);
/// The same as a page of text, made from the JSON, so that it is the same whoever was asked.
std::string status_text(const nlohmann::json& status);
nlohmann::json nodes_json(const nlohmann::json& status);
std::string nodes_text(const nlohmann::json& nodes, bool asked);

}  // namespace atl
