// Recovery kits in files and typed at the terminal. Blocking, main thread of a command.
#pragma once

#include <iosfwd>
#include <string>

#include "cache/drive/recovery_kit.h"
#include "fs/command/exit_code.h"
#include "fs/command/new_files.h"
#include "fs/config/places.h"

namespace atl {

/// Writes the kit into a new file of mode 0600: a PDF where the name ends in ".pdf", else text. Code::exists.
Result<> write_kit_file(const std::string& path, const RecoveryKit& kit, Undo& undo);

/// Writes it where nobody named a file: beside the state folder, under a name that is free; as text where the libraries
/// that draw the page are not installed. The file's path.
Result<std::string> write_default_kit(const Places& places, const RecoveryKit& kit, Undo& undo);

/// Reads a kit from a file (text or PDF); "-": from standard input, where that is a terminal by asking for its parts.
Result<RecoveryKit> read_kit_file(const std::string& path);

/// Asks for a kit part by part. What was typed wrongly is said at once and asked for again. Code::cancelled when the
/// input ends before the kit does.
Result<RecoveryKit> ask_for_kit(std::istream& in, std::ostream& out);

}  // namespace atl
