// The command line: `atoll COMMAND ...`. Parses, runs, prints errors, and returns the exit status.
#pragma once

namespace atl {

int run_command_line(int count, char** words);

/// The exit status of a command line that is understood, or not, as far as that: nothing is done but printing what
/// --help, --version or an error has to say.
int check_command_line(int count, char** words);

}  // namespace atl
