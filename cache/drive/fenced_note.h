// What a computer remembers once another one has taken its drive over: that it is fenced, and what nobody took over from
// here. In `fenced` of the state folder, so that a fenced computer stays so while no node can be reached. FORMAT.md,
// "State folder".
#pragma once

#include <optional>
#include <string>

#include "cache/drive/types.h"
#include "engine/base/disk.h"

namespace atl {

struct FencedNote {
  std::uint32_t epoch = 0;  // the new owner's
  Untold untold;
};

/// Absent if this computer was not fenced. Code::corrupt, newer_format, and the disk's.
Result<std::optional<FencedNote>> read_fenced_note(Disk& disk, const std::string& directory);
Result<> write_fenced_note(Disk& disk, const std::string& directory, const FencedNote& note);
/// This computer owns the drive again. Durable.
Result<> remove_fenced_note(Disk& disk, const std::string& directory);
Error fenced_error(std::uint32_t epoch, const std::string& directory);

}  // namespace atl
