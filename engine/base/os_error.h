// From errno of a system call to an Error that names what was being done, and to what.
// Thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "engine/base/result.h"

namespace atl {

/// "could not ACTION PATH: reason"; with os_error set and a hint where there is one.
Error os_error(std::string_view action, std::string_view path, int error_number);

/// The failed half of a Result, of the calling thread's errno.
tl::unexpected<Error> fail_errno(std::string_view action, std::string_view path);

}  // namespace atl
