// Errors as JSON, on the control socket and for --json: {"code": "not_found", "what": "...", "hint": "..."}.
// Pure; thread-safe.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "engine/base/result.h"

namespace atl {

/// "not_found"; the names are part of the interface.
std::string_view code_name(Code code);
/// Code::failed for a name that is not known.
Code code_from_name(std::string_view name);

nlohmann::json to_json(const Error& error);
/// Takes what it finds; what is missing or of another type stays empty.
Error error_from_json(const nlohmann::json& json);

}  // namespace atl
