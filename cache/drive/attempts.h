// What a computer put on nodes that another one's state of the drive knows nothing of.
#pragma once

#include "cache/drive/drive.h"

namespace atl {

/// Attempts to upload that `old` made and `drive` does not know become garbage of `drive`, which goes after its grace: for
/// when all of `old` that counts is in `drive`, and nobody goes back to `old`. Both were given by Drive::open; not durable
/// before a commit of `drive`. How many. Code::unsupported for other drives; what `drive` answers to changes.
Result<std::size_t> discard_attempts(Drive& drive, Drive& old);

}  // namespace atl
