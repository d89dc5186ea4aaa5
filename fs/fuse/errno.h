// The one place where the drive's error codes become errno, as the manual pages of the system calls document them.
#pragma once

#include "engine/base/result.h"

namespace atl {

/// The positive errno that a file operation answers for `code`; never 0. Thread-safe.
int to_errno(Code code);

}  // namespace atl
