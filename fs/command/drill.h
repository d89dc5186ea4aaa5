// `atoll recover --drill`: the recovery rehearsed, by the process that has the drive open.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <stop_token>
#include <string>

#include "cache/recovery/drill.h"
#include "fs/command/exit_code.h"
#include "fs/config/places.h"

namespace atl {

struct DrillArguments {
  std::string name = "default";
  std::string passphrase_file;
  bool all = false;  // every byte is compared
  bool json = false;
};

/// Asks the running drive, or opens it to look at; prints the report. Exit::failed where something did not come back.
Outcome<> run_recover_drill(const DrillArguments& arguments);

/// The drill itself, for a drive that this process has open; what it found is remembered in the drive's folder. One drill
/// of a drive runs at a time: Code::busy. `progress` sees files and bytes compared so far. Else as run_drill.
Result<nlohmann::json> hold_drill(const Places& places, Drive& live, const Keyring& keyring, bool all,
                                  const std::function<void(const nlohmann::json&)>& progress, std::stop_token stop);

/// The report as JSON, and as a page made from that.
nlohmann::json drill_json(const DrillReport& report, const std::string& name);
std::string drill_text(const nlohmann::json& report);

}  // namespace atl
