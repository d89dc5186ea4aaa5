#include "fs/command/cli.h"

#include <CLI/CLI.hpp>
#include <iostream>

#include "fs/command/check.h"
#include "fs/command/commands.h"
#include "fs/command/delegate.h"
#include "fs/command/drill.h"
#include "fs/command/flow.h"
#include "fs/command/fork.h"
#include "fs/command/key.h"
#include "fs/command/node_host.h"
#include "fs/command/node_members.h"
#include "fs/command/redundancy_cli.h"
#include "fs/command/terminal.h"
#include "fs/config/config.h"

namespace atl {

namespace {

constexpr const char* exit_help =
    "Exit status: 0 done, 1 failed, 2 usage, 3 no such drive or not mounted, 4 busy or owned elsewhere,\n"
    "5 time-out or not yet protected, 6 too few nodes, 7 key or passphrase.";

/// Whether errors are wanted as JSON, known before the line is understood.
bool wants_json(int count, char** words) {
  for (int i = 1; i < count; ++i)
    if (std::string_view(words[i]) == "--json") return true;
  return false;
}

int understand(int count, char** words, bool act) {
  CLI::App app("Atoll: a drive that is spread, encrypted, over many nodes, and mounts as an ordinary directory.", "atoll");
  app.require_subcommand(1);
  app.footer(exit_help);
  app.set_version_flag("--version", "atoll " ATOLL_VERSION);
  std::function<Outcome<>()> command;
  const std::string name_help = "the drive's name (default: default)";

  InitArguments init;
  auto* init_command = app.add_subcommand("init", "Make a new drive: keys, state folder, configuration");
  init_command->add_option("NAME", init.name, name_help);
  init_command->add_option("--node", init.nodes, "a node that stores shards: dir:/path/to/folder, an invite, or atoll://HOST:PORT/ID; repeated. Without: six folders on this disk")
      ->take_all()->allow_extra_args(false);
  init_command->add_option("--redundancy", init.redundancy, "K/N: any K of N shards bring the data back");
  init_command->add_option("--protect-min", init.protect_min, "from so many durable shards on data counts as protected, K to N")
      ->check(CLI::Range(1, 255));
  auto* init_file = init_command->add_option("--passphrase-file", init.passphrase_file, "a passphrase protects the keys; from this file, - asks");
  init_command->add_flag("--passphrase", init.passphrase, "a passphrase protects the keys; asked at the terminal")->excludes(init_file);
  auto* init_kit = init_command->add_option("--kit", init.kit, "the new file for the recovery kit; a page to print if it ends in .pdf, else text (default: a PDF beside the state folder)");
  init_command->add_flag("--no-kit", init.no_kit, "make no recovery kit now; `atoll kit export` makes one later")->excludes(init_kit);
  init_command->add_flag("--json", init.json, "print the result, and errors, as JSON");
  init_command->callback([&] {
    if (init.passphrase_file == "-") init.passphrase = true;
    command = [&] { return run_init(init); };
  });

  MountArguments mount;
  std::vector<std::string> mount_words;
  auto* mount_command = app.add_subcommand("mount", "Mount a drive on an empty directory");
  mount_command->add_option("NAME MOUNTPOINT", mount_words, "the drive's name (default: default) and where to mount it")->required()->expected(1, 2);
  mount_command->add_flag("-f,--foreground", mount.foreground, "stay in front, log to standard error");
  mount_command->add_option("-o", mount.options, "settings and mount options, KEY=VALUE,...")->take_all()->allow_extra_args(false);
  mount_command->add_option("--passphrase-file", mount.passphrase_file, "read the passphrase from this file, - asks");
  mount_command->add_flag("--take-over", mount.take_over, "take the drive back from another computer, which is fenced then; what was saved only here comes into a folder of its own");
  mount_command->add_flag("--json", mount.json, "errors as JSON");
  mount_command->footer("Settings for -o and the configuration file, with their defaults:\n" + config_help() + "\nMount options: ro, rw, noatime, "
                        "nosuid, nodev, noexec, sync, dirsync, allow_other, context=...");
  mount_command->callback([&] {
    mount.mount_point = mount_words.back();
    if (mount_words.size() == 2) mount.name = mount_words.front();
    command = [&] { return run_mount(mount); };
  });

  UmountArguments umount;
  auto* umount_command = app.add_subcommand("umount", "Unmount a drive and wait until its process is gone");
  umount_command->add_option("MOUNTPOINT", umount.mount_point, "where it is mounted")->required();
  umount_command->add_flag("--sync", umount.sync, "first wait until everything is protected on the nodes");
  umount_command->add_flag("--lazy", umount.lazy, "detach also while it is in use");
  umount_command->add_flag("--json", umount.json, "errors as JSON");
  umount_command->callback([&] { command = [&] { return run_umount(umount); }; });

  std::string name = "default";
  bool json = false;
  auto* status_command = app.add_subcommand("status", "What the drive survives, what is only here, how its nodes are");
  status_command->add_option("NAME", name, name_help);
  status_command->add_flag("--json", json, "as JSON");
  status_command->callback([&] { command = [&] { return run_status(name, json); }; });

  SyncArguments sync;
  bool local = false;
  bool full = false;
  auto* sync_command = app.add_subcommand("sync", "Wait until everything saved so far is protected");
  sync_command->add_option("NAME", sync.name, name_help);
  auto* local_flag = sync_command->add_flag("--local", local, "until it is durable on this computer");
  sync_command->add_flag("--full", full, "until it is on all its nodes")->excludes(local_flag);
  sync_command->add_option("--timeout", sync.timeout_seconds, "give up after so many seconds, with status 5")->check(CLI::Range(0.0, 1e8));
  sync_command->add_flag("--json", json, "errors as JSON");
  sync_command->callback([&] {
    if (local) sync.level = "local";
    if (full) sync.level = "full";
    command = [&] { return run_sync(sync); };
  });

  add_flow_commands(app, command);

  auto* cache_command = app.add_subcommand("cache", "The local copies of what the nodes hold");
  cache_command->require_subcommand(1);
  auto* drop_command = cache_command->add_subcommand("drop", "Forget them, and the kernel's cached pages");
  drop_command->add_option("NAME", name, name_help);
  drop_command->add_flag("--json", json, "errors as JSON");
  drop_command->callback([&] { command = [&] { return run_cache_drop(name); }; });

  bool wait = false;
  auto* gc_command = app.add_subcommand("gc", "Reclaim the space of what was deleted and overwritten");
  gc_command->add_option("NAME", name, name_help);
  gc_command->add_flag("--wait", wait, "return when nothing more is due");
  gc_command->add_flag("--json", json, "errors as JSON");
  gc_command->callback([&] { command = [&] { return run_gc(name, wait); }; });

  add_check_command(app, command);
  add_redundancy_commands(app, command);

  RecoverArguments recover;
  DrillArguments rehearsal;
  bool drill_wanted = false;
  std::string recover_word;
  auto* recover_command = app.add_subcommand("recover", "Bring a drive back from its recovery kit and its nodes; or rehearse that");
  recover_command->add_option("MOUNTPOINT", recover_word, "mount it there at once; with --drill the drive's name (default: default)");
  auto* kit_option = recover_command->add_option("--kit", recover.kit, "the recovery kit, PDF or text; - for standard input, or to type it");
  auto* drill_flag = recover_command->add_flag("--drill", drill_wanted, "rehearse it: rebuild the drive from its nodes in a place that is thrown away, and compare")->excludes(kit_option);
  recover_command->add_flag("--all", rehearsal.all, "compare every byte, not a sample")->needs(drill_flag);
  recover_command->add_option("--as", recover.name, "the drive's name on this computer (default: the kit's)");
  recover_command->add_option("--node", recover.nodes, "ID=ADDRESS: where a node is now; repeated")->take_all()->allow_extra_args(false);
  recover_command->add_option("--passphrase-file", recover.passphrase_file, "a passphrase protects the keys on this computer; from this file, - asks");
  recover_command->add_flag("--json", recover.json, "print the result, and errors, as JSON");
  recover_command->callback([&] {
    if (!drill_wanted && recover.kit.empty()) throw CLI::RequiredError("--kit, or --drill,");
    if (drill_wanted && !recover_word.empty()) rehearsal.name = recover_word;
    if (!drill_wanted) recover.mount_point = recover_word;
    rehearsal.passphrase_file = recover.passphrase_file;
    rehearsal.json = recover.json;
    command = [&] { return drill_wanted ? run_recover_drill(rehearsal) : run_recover(recover); };
  });

  add_fork_commands(app, command);

  KitExportArguments kit;
  auto* kit_command = app.add_subcommand("kit", "The recovery kit: the page that brings the drive back without this computer");
  kit_command->require_subcommand(1);
  auto* export_command = kit_command->add_subcommand("export", "Make one; without a file, at the terminal");
  export_command->add_option("NAME", kit.name, name_help);
  export_command->add_option("--pdf", kit.pdf, "a page to print, into this new file");
  export_command->add_option("--text", kit.text, "text, into this new file");
  export_command->add_option("--passphrase-file", kit.passphrase_file, "read the passphrase from this file, - asks");
  export_command->add_flag("--json", json, "errors as JSON");
  export_command->callback([&] { command = [&] { return run_kit_export(kit); }; });

  add_key_commands(app, command);
  add_delegate_commands(app, command);

  InspectArguments inspect;
  std::vector<std::string> inspect_words;
  auto* inspect_command = app.add_subcommand("inspect", "Show what a file rests on, or decode a journal, segment or object");
  inspect_command->add_option("PATH", inspect_words, "a file on the drive; or: journal|segment|object FILE")->required()->expected(1, 2);
  inspect_command->add_option("--drive", inspect.name, "whose keys open a journal or segment (default: the drive the file lies in)");
  inspect_command->add_flag("--json", inspect.json, "as JSON");
  inspect_command->callback([&] {
    inspect.path = inspect_words.back();
    inspect.what = "path";
    if (inspect_words.size() == 2) {
      inspect.what = inspect_words.front();
      if (inspect.what != "journal" && inspect.what != "segment" && inspect.what != "object")
        throw CLI::ValidationError("PATH", "\"" + inspect.what + "\" is none of journal, segment, object");
    }
    command = [&] { return run_inspect(inspect); };
  });

  auto* node_command = app.add_subcommand("node", "The nodes of a drive; and being a node for others");
  node_command->require_subcommand(1);
  add_node_host_commands(*node_command, command);
  add_node_member_commands(*node_command, command);
  auto* list_command = node_command->add_subcommand("list", "List them and their state");
  list_command->add_option("NAME", name, name_help);
  list_command->add_flag("--json", json, "as JSON");
  list_command->callback([&] { command = [&] { return run_node_list(name, json); }; });

  NodeDrainArguments drain;
  auto* drain_command = node_command->add_subcommand("drain", "Move everything off a node that still works");
  std::vector<std::string> node_words;
  const std::string node_help = "the drive's name (default: default), and the node: its address, or the beginning of its id";
  drain_command->add_option("NAME NODE", node_words, node_help)->required()->expected(1, 2);
  auto* stay_flag = drain_command->add_flag("--stay", drain.stay, "it stays after all, and gets new data again");
  drain_command->add_flag("--wait", drain.wait, "return when nothing that the drive needs is left there")->excludes(stay_flag);
  drain_command->add_flag("--json", json, "errors as JSON");
  drain_command->callback([&] {
    drain.node = node_words.back();
    if (node_words.size() == 2) drain.name = node_words.front();
    command = [&] { return run_node_drain(drain); };
  });
  auto* remove_command = node_command->add_subcommand("remove", "Take a node out of the drive, once what it holds lies elsewhere");
  remove_command->add_option("NAME NODE", node_words, node_help)->required()->expected(1, 2);
  remove_command->add_flag("--json", json, "errors as JSON");
  remove_command->callback([&] {
    if (node_words.size() == 2) name = node_words.front();
    command = [&] { return run_node_remove(name, node_words.back()); };
  });

  auto* version_command = app.add_subcommand("version", "Print the version and the formats it reads and writes");
  version_command->add_flag("--json", json, "as JSON");
  version_command->callback([&] { command = [&] { return run_version(json); }; });

  const bool json_errors = wants_json(count, words);
  try {
    app.parse(count, words);
  } catch (const CLI::Success& asked) {
    return app.exit(asked);  // --help, --version
  } catch (const CLI::ParseError& error) {
    print_error(Error(Code::invalid, error.what(), "atoll --help, or atoll COMMAND --help"), json_errors);
    return static_cast<int>(Exit::usage);
  }
  if (!act) return static_cast<int>(Exit::done);
  try {
    const Outcome<> outcome = command();
    std::cout.flush();
    if (outcome) return static_cast<int>(Exit::done);
    print_error(outcome.error().error, json_errors);
    return static_cast<int>(outcome.error().exit);
  } catch (const std::exception& error) {
    print_error(Error(Code::failed, error.what()), json_errors);
    return static_cast<int>(Exit::failed);
  }
}

}  // namespace

int run_command_line(int count, char** words) { return understand(count, words, true); }
int check_command_line(int count, char** words) { return understand(count, words, false); }

}  // namespace atl
