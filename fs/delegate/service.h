// `atoll delegate run`, which is the program atoll-delegate: audits and repairs a drive that it cannot read, once or as a
// service. Main thread of the process, once.
#pragma once

namespace atl {

/// The whole command line. What the process exits with (fs/command/exit_code.h): 6 if fewer than k shards of something can
/// be had, 7 once the owner has revoked the delegate.
int run_delegate(int count, char** words);

}  // namespace atl
