// Mount points as the system sees them: which there are, whether one can be used, who holds one, and taking one away.
//
// Errors: Code::not_found (no such directory, or nothing mounted there), not_directory, not_empty, busy, access_denied,
// failed. Every error says what the person can do. Thread-safe; all calls may block.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"

namespace atl {

/// One line of /proc/self/mountinfo.
struct MountEntry {
  std::string mount_point;
  std::string device;  // "0:57"
  std::string type;    // "fuse.atoll"
  std::string source;  // "atoll:photos"
};

/// Parses mountinfo's text; lines that are not understood are left out.
std::vector<MountEntry> parse_mountinfo(std::string_view text);
/// The mounts that this process sees, in order of mounting.
std::vector<MountEntry> current_mounts();
/// The topmost mount exactly at a path, if any.
std::optional<MountEntry> mount_at(const std::string& path);
/// The mount that holds an absolute, resolved path.
std::optional<MountEntry> mount_of(const std::string& path);
/// "photos" for a mount of a drive, nothing for others.
std::optional<std::string> drive_name_of(const MountEntry& mount);

/// An absolute path without symbolic links in its parent; the last component need not answer (a dead mount).
Result<std::string> resolve_mount_point(const std::string& path);

/// Makes a directory ready to be mounted on: detaches a dead mount that lies there, then checks that it is an empty
/// directory outside `forbidden` (the drive's own folders).
Result<> prepare_mount_point(const std::string& path, const std::vector<std::string>& forbidden);

/// Whether this process may use FUSE at all, with what to do where it may not.
Result<> check_fuse_access();

/// Takes a mount away; as an ordinary user through fusermount3. `lazy`: even if it is in use.
Result<> unmount(const std::string& mount_point, bool lazy);

struct Holder {
  pid_t process = 0;
  std::string command;  // its name
  std::string path;     // one thing below the mount that it holds
};
/// Processes with open files, directories, programs or mappings below a mount point, this one left out; those of other
/// users only as far as the system shows them.
std::vector<Holder> holders_of(const std::string& mount_point);
/// "1234 (bash), 99 (vim)" for people.
std::string describe(const std::vector<Holder>& holders);

/// Lets the kernel read ahead that far on a mount. Needs root; without, nothing happens.
void set_readahead(const std::string& mount_point, unsigned kibibytes);

}  // namespace atl
