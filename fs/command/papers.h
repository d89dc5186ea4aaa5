// What a drive's folder remembers of its way back: the recovery kit that was made last, and the last rehearsal. JSON files
// beside the keys; FORMAT.md, "State folder". Neither is needed by anything, and what is damaged is as if it were not there.
// Blocking on the disk.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "engine/base/clock.h"
#include "engine/base/disk.h"
#include "engine/engine.h"

namespace atl {

/// A kit with these entries was made; or shown to work, where the drive came back by it.
Result<> note_kit(Disk& disk, const std::string& state, const std::vector<NodeSpec>& entries, Timestamp now);
/// The kit's entries brought the drive back, in a rehearsal. Nothing happens where no kit is known.
Result<> note_kit_checked(Disk& disk, const std::string& state, Timestamp now);
/// The report of a drill, as drill_json() gives it.
Result<> note_drill(Disk& disk, const std::string& state, const nlohmann::json& report);

/// Adds `kit` and `drill` to what status_json() gave: null where nothing is known.
void add_papers(nlohmann::json& status, Disk& disk, const std::string& state, Timestamp now);

}  // namespace atl
