// `atoll init`: keys, state folder, nodes, configuration and kit of a new drive; all of it or nothing.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cache/drive/drive.h"
#include "cache/drive/home.h"
#include "cache/keys/node_credentials.h"
#include "engine/base/posix_disk.h"
#include "engine/base/os_error.h"
#include "engine/base/thread_runtime.h"
#include "engine/daemons.h"
#include "fs/command/commands.h"
#include "fs/command/kit_files.h"
#include "fs/command/new_files.h"
#include "fs/command/papers.h"
#include "fs/command/redundancy.h"
#include "fs/command/terminal.h"
#include "fs/config/config.h"
#include "fs/config/places.h"
#include "fs/kit/kit_page.h"

namespace atl {

namespace fs = std::filesystem;

namespace {

/// Removes at undo what adopting a folder as a node will add to it.
void undo_adoption(const std::string& url, Undo& undo) {
  constexpr std::string_view scheme = "dir:";
  if (!url.starts_with(scheme)) return;
  const fs::path folder = url.substr(scheme.size());
  std::error_code error;
  if (!fs::exists(folder, error)) {
    undo.add([folder] {
      std::error_code ignored;
      fs::remove_all(folder, ignored);
    });
    return;
  }
  std::vector<std::string> before;
  for (const auto& entry : fs::directory_iterator(folder, error)) before.push_back(entry.path().filename().string());
  undo.add([folder, before] {
    std::error_code ignored;
    std::vector<fs::path> added;
    for (const auto& entry : fs::directory_iterator(folder, ignored))
      if (std::find(before.begin(), before.end(), entry.path().filename().string()) == before.end())
        added.push_back(entry.path());
    for (const fs::path& path : added) fs::remove_all(path, ignored);
  });
}

Result<NodeSpec> adopt_folder_of(const std::string& given, Random& random, Undo& undo) {
  constexpr std::string_view scheme = "dir:";
  if (!given.starts_with(scheme) || given.size() == scheme.size())
    return fail(Code::invalid, "\"" + given + "\" is no node this version knows",
                "a folder is written dir:/path/to/folder, a node daemon atoll://HOST:PORT/ID or as its invite");
  const std::string url = std::string(scheme) + fs::absolute(given.substr(scheme.size())).lexically_normal().string();
  undo_adoption(url, undo);
  return adopt_node(url, random);
}

/// Folders first: what a redeemed invite opened stays opened, whatever fails after it. `redeemed` becomes true when an
/// invite may have been.
Result<std::vector<NodeSpec>> adopt_nodes(const std::vector<std::string>& urls, const NodeCredentials& credentials, Clock& clock,
                                          Random& random, Undo& undo, bool& redeemed) {
  std::vector<NodeSpec> nodes(urls.size());
  for (const bool daemons : {false, true}) {
    for (std::size_t i = 0; i < urls.size(); ++i) {
      if (names_daemon(urls[i]) != daemons) continue;
      auto node = daemons ? adopt_daemon(urls[i], credentials, clock) : adopt_folder_of(urls[i], random, undo);
      // A node that said no gave nothing away; of an answer that did not come nobody knows.
      if (names_invite(urls[i]) && (node || node.error().code != Code::not_permitted)) redeemed = true;
      if (!node) return fail(node.error());
      for (const NodeSpec& other : nodes)
        if (!other.url.empty() && other.id == node->id)
          return fail(Code::invalid, node->url + " and " + other.url + " are the same node", "give each node once");
      nodes[i] = std::move(*node);
    }
  }
  return nodes;
}

/// The keys of a drive in the making. They are durable before an invite is redeemed with them, and stay if making the
/// drive fails after that: the accounts that the invites opened are theirs, so that the next try must have the same.
struct NewKeys {
  Keyring keyring;
  SecretKey recovery;
};

/// Those that a try before this one left in `folder`, with this try's passphrase; nothing if there are none.
Result<std::optional<NewKeys>> keys_of_earlier_try(Disk& disk, const std::string& folder, const std::optional<std::string>& passphrase,
                                                   Random& random) {
  const auto home = read_home(disk, folder);
  if (!home && home.error().code == Code::not_found) return std::optional<NewKeys>();
  if (!home) return fail(home.error());
  auto keyring = unlock_home(disk, folder, [&]() -> Result<std::string> {
    if (passphrase) return *passphrase;
    return fail(Code::key, "an earlier `atoll init` of this drive failed, and its keys are behind the passphrase that was given then",
                "give it again: --passphrase-file; or remove " + folder + ", and with it what its invites opened");
  });
  if (!keyring) return fail(keyring.error());
  auto recovery = read_recovery_key(disk, folder, *keyring);
  if (!recovery) return fail(recovery.error());
  if (passphrase && !home->passphrase) {
    if (auto wrapped = rewrap_home(disk, folder, *keyring, nullptr, *passphrase, random); !wrapped) return fail(wrapped.error());
  }
  return std::optional<NewKeys>(NewKeys{std::move(*keyring), std::move(*recovery)});
}

/// Everything but the keys of a drive in the making.
Result<> clear_but_keys(const std::string& folder) {
  std::error_code error;
  std::vector<fs::path> others;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name != "volume" && name != "local.key" && name != "device.key" && name != "lock") others.push_back(entry.path());
  }
  for (const fs::path& path : others)
    if (!error) fs::remove_all(path, error);
  if (error) return fail(Code::io, "cannot clear what an earlier try left in " + folder + ": " + error.message());
  return {};
}

std::string survival_text(Redundancy redundancy) {
  const unsigned spare = redundancy.n - redundancy.k;
  if (spare == 0) return "none of " + plural(redundancy.n, "node") + " may be lost";
  return "any " + std::to_string(spare) + " of " + plural(redundancy.n, "node") + " may be lost";
}

}  // namespace

Outcome<> run_init(const InitArguments& arguments) {
  auto places = find_places(arguments.name);
  if (!places) return give_up(places.error(), Exit::usage);
  const bool embedded = arguments.nodes.empty();
  std::vector<std::string> urls = arguments.nodes;
  if (embedded)
    for (int i = 1; i <= 6; ++i) urls.push_back("dir:" + places->nodes + "/" + std::to_string(i));

  Redundancy redundancy = default_redundancy(urls.size());
  if (!arguments.redundancy.empty()) {
    auto parsed = parse_redundancy(arguments.redundancy, urls.size());
    if (!parsed) return give_up(parsed.error(), Exit::usage);
    redundancy = *parsed;
  }
  std::uint8_t protect_min = default_protect_min(redundancy);
  if (arguments.protect_min != 0) {
    if (arguments.protect_min < redundancy.k || arguments.protect_min > redundancy.n)
      return give_up(Error(Code::invalid, "--protect-min " + std::to_string(arguments.protect_min) + " is not between k = " +
                                              std::to_string(redundancy.k) + " and n = " + std::to_string(redundancy.n)),
                     Exit::usage);
    protect_min = static_cast<std::uint8_t>(arguments.protect_min);
  }

  PosixDisk disk;
  std::error_code error;
  if (fs::exists(places->state, error))
    return give_up(Error(Code::exists, "there is a drive " + arguments.name + " already, in " + places->state,
                         "choose another name: atoll init NAME"),
                   Exit::busy);
  if (embedded && fs::exists(places->nodes, error))
    return give_up(Error(Code::exists, "the folder for embedded nodes " + places->nodes + " is there already",
                         "it may hold another drive's data; move it away or choose another name"));
  if (!arguments.kit.empty() && fs::exists(fs::symlink_status(arguments.kit, error)))
    return give_up(Error(Code::exists, "the recovery kit " + arguments.kit + " is there already and is not overwritten",
                         "choose another file"));

  std::optional<std::string> passphrase;
  if (!arguments.passphrase_file.empty() && !arguments.passphrase) {
    auto found = find_passphrase(arguments.passphrase_file, arguments.name);
    if (!found) return give_up(found.error(), Exit::key);
    passphrase = std::move(*found);
  } else if (arguments.passphrase) {
    auto first = ask_passphrase("New passphrase of the drive " + arguments.name + ": ");
    if (!first) return give_up(first.error(), Exit::key);
    auto again = ask_passphrase("The same again: ");
    if (!again) return give_up(again.error(), Exit::key);
    if (*first != *again) return give_up(Error(Code::key, "the two passphrases differ"), Exit::key);
    passphrase = std::move(*first);
  }

  bool redeemed = false;  // an invite, so that its keys are worth keeping
  Undo undo;
  SystemRandom random;
  SystemClock clock;
  const std::string fresh = places->home + "/." + arguments.name + ".new";
  if (auto made = make_directories(fs::path(places->home), undo); !made) return give_up(made.error());
  if (!fs::exists(fresh, error))
    if (auto made = disk.make_directory(fresh); !made) return give_up(made.error());
  const auto lock = HomeLock::acquire(fresh, std::chrono::milliseconds(0));
  if (!lock) return give_up(lock.error());
  undo.add([fresh, &redeemed] {
    std::error_code ignored;
    if (!redeemed) fs::remove_all(fresh, ignored);
  });
  if (embedded)
    if (auto made = make_directories(fs::path(places->nodes), undo); !made) return give_up(made.error());
  auto keys = keys_of_earlier_try(disk, fresh, passphrase, random);
  redeemed = !keys || keys->has_value();
  if (!keys) return give_up(keys.error());
  if (auto cleared = clear_but_keys(fresh); !cleared) return give_up(cleared.error());
  if (!*keys) {
    keys->emplace(NewKeys{Keyring::generate(random), SecretKey::random(random)});
    std::optional<std::string_view> wrapped_by;
    if (passphrase) wrapped_by = *passphrase;
    if (auto made = create_home(disk, fresh, (*keys)->keyring, (*keys)->recovery, wrapped_by, random); !made) return give_up(made.error());
  }
  const Keyring& keyring = (*keys)->keyring;
  const SecretKey& recovery = (*keys)->recovery;
  auto credentials = node_credentials(disk, fresh, keyring, random);
  if (!credentials) return give_up(credentials.error());
  auto nodes = adopt_nodes(urls, **credentials, clock, random, undo, redeemed);
  if (!nodes) {
    Error why = nodes.error();
    if (redeemed)
      why.hint += (why.hint.empty() ? "" : "; ") + std::string("then run the same `atoll init` again: the invites that it used are still this drive's, whose keys wait in ") + fresh;
    return give_up(why);
  }

  NewDrive drive;
  drive.nodes = *nodes;
  drive.redundancy = redundancy;
  drive.protect_min = protect_min;
  drive.uid = ::getuid();
  drive.gid = ::getgid();
  {
    ThreadRuntime runtime(1, clock);
    const DriveSeams seams{disk, clock, random, runtime};
    if (auto made = Drive::create(seams, fresh, keyring, drive); !made) return give_up(made.error());
    // Opened once: what was made is proved to open, and the index is there for `atoll status` before the first mount.
    auto opened = Drive::open(seams, fresh, keyring, DriveOptions{});
    if (!opened) return give_up(opened.error());
    if (auto closed = (*opened)->close(std::chrono::seconds(10)); !closed) return give_up(closed.error());
  }

  std::string kit_path = arguments.kit;
  if (!arguments.no_kit) {
    const RecoveryKit kit{arguments.name, keyring.volume(), recovery.clone(), nodes_for_kit(*nodes, redundancy, kit_page_nodes_max, random),
                          keyring.wrap(recovery, random)};
    if (kit_path.empty()) {
      auto written = write_default_kit(*places, kit, undo);
      if (!written) return give_up(written.error());
      kit_path = *written;
    } else if (auto written = write_kit_file(kit_path, kit, undo); !written) {
      return give_up(written.error());
    }
    if (auto noted = note_kit(disk, fresh, kit.nodes, clock.wall_now()); !noted) return give_up(noted.error());
  }
  const bool config_kept = fs::exists(places->config_file, error);
  if (!config_kept) {
    if (auto made = make_directories(fs::path(places->config_file).parent_path(), undo); !made) return give_up(made.error());
    if (auto written = write_secret_file(places->config_file, default_config_text(arguments.name), undo); !written)
      return give_up(written.error());
  }
  if (auto named = disk.rename_new(fresh, places->state); !named) return give_up(named.error());
  undo.forget();
  if (auto synced = disk.sync_directory(places->home); !synced) return give_up(synced.error());

  if (arguments.json) {
    nlohmann::json answer{{"schema", 1}, {"name", arguments.name}, {"state", places->state}, {"config", places->config_file},
                          {"redundancy", {{"k", redundancy.k}, {"r", protect_min}, {"n", redundancy.n}}},
                          {"kit", kit_path.empty() ? nlohmann::json() : nlohmann::json(kit_path)}, {"nodes", nlohmann::json::array()}};
    for (const NodeSpec& node : *nodes) answer["nodes"].push_back({{"id", node.id.hex()}, {"url", node.url}});
    std::cout << answer.dump() << "\n";
    return {};
  }
  std::cout << "The drive \"" << arguments.name << "\" is made.\n"
            << "  state          " << places->state << "\n"
            << "  configuration  " << places->config_file << (config_kept ? " (was there already, kept as it is)" : "") << "\n"
            << "  redundancy     " << int{redundancy.k} << "/" << int{redundancy.n} << ": " << survival_text(redundancy)
            << "; protected from " << int{protect_min} << " shards on\n";
  for (const NodeSpec& node : *nodes) std::cout << "  node           " << node.url << "\n";
  if (embedded)
    std::cout << "\nThese " << nodes->size()
              << " nodes are folders on this computer's own disk. They let you try everything, but they share this disk:\n"
                 "losing this computer loses the drive, until real nodes are added.\n";
  if (!kit_path.empty()) {
    std::cout << "\nThe recovery kit is in " << kit_path << ".\n"
              << "Print it, keep it away from this computer, delete the file: whoever has it can read the drive" << (passphrase ? " without the passphrase" : "") << ",\n"
              << "and without it nobody can, once this computer is lost. `atoll kit export` makes it again.\n";
  } else {
    std::cout << "\nNo recovery kit was made: without this computer nobody can open the drive. `atoll kit export` makes one.\n";
  }
  std::cout << "\nNext: atoll mount" << (arguments.name == "default" ? "" : " " + arguments.name) << " MOUNTPOINT\n";
  return {};
}

}  // namespace atl
