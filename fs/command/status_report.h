// A drive's status, for programs and for people. Pure; thread-safe.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "cache/care/care.h"
#include "cache/drive/types.h"
#include "engine/statistics.h"

namespace atl {

/// What `atoll status --json` prints. `mounted_at` is null for a drive that is not mounted.
nlohmann::json status_json(const DriveStatus& status, const std::string& name, const std::string& mounted_at);
/// Adds what care says, to the drive ("care") and to each of its nodes.
void add_care(nlohmann::json& status, const CareStatus& care);
/// Adds to each node how it answered ("statistics") since `kept` ago; from an hour on also how often it is asked a day.
void add_statistics(nlohmann::json& status, const std::map<NodeId, NodeStatistics>& statistics, Duration kept);
/// The same as a page of text, made from the JSON, so that it is the same whoever was asked.
std::string status_text(const nlohmann::json& status);
/// What a drive may take of the line, in words, from flow_json (flow.h).
std::string flow_text(const nlohmann::json& flow);
nlohmann::json nodes_json(const nlohmann::json& status);
std::string nodes_text(const nlohmann::json& nodes, bool asked);

}  // namespace atl
