// A check as a request of the control socket, `check {read_percent, repair, from_start}`, and its report, for programs and
// for people. Thread-safe.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <stop_token>
#include <string>

#include "cache/drive/drive.h"
#include "fs/command/exit_code.h"
#include "fs/control/control_server.h"

namespace atl {

/// Answers the report as `atoll check --json` prints it, but for the drive's name. Progress {step, done, total}.
Result<nlohmann::json> check_drive(Drive& drive, const nlohmann::json& request, const ProgressSink& progress, std::stop_token stop);
nlohmann::json check_json(const CheckReport& report);
/// The same as a page of text, made from the JSON.
std::string check_text(const nlohmann::json& report);
/// What the command ends with: all is whole; else what is wrong, in a sentence, and what to do.
Outcome<> check_outcome(const nlohmann::json& report);

}  // namespace atl
