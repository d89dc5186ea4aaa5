// The command line: `atoll COMMAND ...`. Parses, runs, prints errors, and returns the exit status.
#pragma once

namespace atl {

int run_command_line(int count, char** words);

}  // namespace atl
