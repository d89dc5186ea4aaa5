// The subcommands of `atoll`: their arguments, and what runs them. Each writes its result to standard output and returns
// why it failed; errors are printed by the caller (cli.h). Run from the program's main thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fs/command/exit_code.h"

namespace atl {

struct InitArguments {
  std::string name = "default";
  std::vector<std::string> nodes;  // urls
  std::string redundancy;          // "3/6"; empty: by the number of nodes
  int protect_min = 0;             // 0: by the redundancy
  std::string passphrase_file;
  bool passphrase = false;         // asked on the terminal
  std::string kit;                 // empty: beside the state folder
  bool no_kit = false;
  bool json = false;
};

struct KitExportArguments {
  std::string name = "default";
  std::string pdf;
  std::string text;  // neither: at the terminal
  std::string passphrase_file;
};

struct MountArguments {
  std::string name = "default";
  std::string mount_point;
  std::vector<std::string> options;
  std::string passphrase_file;
  bool foreground = false;
  bool take_over = false;  // from another computer that owns the drive now
  bool json = false;
};

struct UmountArguments {
  std::string mount_point;
  bool sync = false;
  bool lazy = false;
  bool json = false;
};

struct SyncArguments {
  std::string name = "default";
  std::string level = "protected";  // local, protected, full
  std::optional<double> timeout_seconds;
};

struct RecoverArguments {
  std::string kit;                 // a file, - for standard input
  std::string name;                // empty: the kit's
  std::vector<std::string> nodes;  // ID=ADDRESS
  std::string passphrase_file;
  std::string mount_point;         // empty: not mounted
  bool json = false;
};

struct InspectArguments {
  std::string what;  // "path", "journal", "segment", "object"
  std::string path;
  std::string name;  // the drive whose keys open a journal; empty: the one that the file lies in
  bool json = false;
};

struct NodeDrainArguments {
  std::string name = "default";
  std::string node;      // its address, or the beginning of its id
  bool stay = false;     // no longer to be emptied
  bool wait = false;
};

Outcome<> run_init(const InitArguments& arguments);
Outcome<> run_mount(const MountArguments& arguments);
Outcome<> run_umount(const UmountArguments& arguments);
Outcome<> run_status(const std::string& name, bool json);
Outcome<> run_sync(const SyncArguments& arguments);
Outcome<> run_cache_drop(const std::string& name);
Outcome<> run_gc(const std::string& name, bool wait);
Outcome<> run_inspect(const InspectArguments& arguments);
Outcome<> run_recover(const RecoverArguments& arguments);
Outcome<> run_kit_export(const KitExportArguments& arguments);
Outcome<> run_node_list(const std::string& name, bool json);
Outcome<> run_node_drain(const NodeDrainArguments& arguments);
Outcome<> run_node_remove(const std::string& name, const std::string& node);
Outcome<> run_version(bool json);

}  // namespace atl
