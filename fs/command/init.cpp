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
#include "cache/drive/recovery_kit.h"
#include "engine/base/posix_disk.h"
#include "engine/base/os_error.h"
#include "engine/base/thread_runtime.h"
#include "fs/command/commands.h"
#include "fs/command/redundancy.h"
#include "fs/command/terminal.h"
#include "fs/config/config.h"
#include "fs/config/places.h"

namespace atl {

namespace fs = std::filesystem;

namespace {

/// Undoes, in reverse order, what was done, unless it is told that all went well.
class Undo {
 public:
  ~Undo() {
    for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) (*step)();
  }
  void add(std::function<void()> step) { steps_.push_back(std::move(step)); }
  void forget() { steps_.clear(); }

 private:
  std::vector<std::function<void()>> steps_;
};

/// Creates a directory with its missing parents, 0700, and removes at undo what it created.
Result<> make_directories(const fs::path& path, Undo& undo) {
  std::error_code error;
  std::vector<fs::path> missing;
  for (fs::path at = path; !at.empty() && !fs::exists(at, error); at = at.parent_path()) missing.push_back(at);
  for (auto at = missing.rbegin(); at != missing.rend(); ++at) {
    if (::mkdir(at->c_str(), 0700) != 0) return fail_errno("make the directory", at->string());
    undo.add([made = *at] { ::rmdir(made.c_str()); });
  }
  return {};
}

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

Result<std::vector<NodeSpec>> adopt_nodes(const std::vector<std::string>& urls, Random& random, Undo& undo) {
  std::vector<NodeSpec> nodes;
  for (const std::string& given : urls) {
    std::string url = given;
    constexpr std::string_view scheme = "dir:";
    if (!url.starts_with(scheme) || url.size() == scheme.size())
      return fail(Code::invalid, "\"" + url + "\" is no node this version knows", "a folder is written dir:/path/to/folder");
    url = std::string(scheme) + fs::absolute(url.substr(scheme.size())).lexically_normal().string();
    undo_adoption(url, undo);
    auto node = adopt_node(url, random);
    if (!node) return fail(node.error());
    for (const NodeSpec& other : nodes)
      if (other.id == node->id)
        return fail(Code::invalid, url + " and " + other.url + " are the same node", "give each node once");
    nodes.push_back(std::move(*node));
  }
  return nodes;
}

/// Writes a new file that only this user can read; Code::exists if there is one.
Result<> write_secret_file(const std::string& path, std::string_view text, Undo& undo) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return fail_errno("write the new file", path);
  undo.add([path] { ::unlink(path.c_str()); });
  std::size_t written = 0;
  while (written < text.size()) {
    const ssize_t count = ::write(fd, text.data() + written, text.size() - written);
    if (count <= 0) break;
    written += static_cast<std::size_t>(count);
  }
  const bool durable = written == text.size() && ::fsync(fd) == 0;
  auto failed = durable ? std::optional<tl::unexpected<Error>>() : fail_errno("write", path);
  if (::close(fd) != 0 || !durable) return failed ? *failed : fail_errno("write", path);
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

  Undo undo;
  SystemRandom random;
  SystemClock clock;
  const std::string fresh = places->home + "/." + arguments.name + ".new-" + std::to_string(::getpid());
  if (auto made = make_directories(fs::path(places->home), undo); !made) return give_up(made.error());
  undo.add([fresh] {
    std::error_code ignored;
    fs::remove_all(fresh, ignored);
  });
  if (auto made = disk.make_directory(fresh); !made) return give_up(made.error());
  if (embedded)
    if (auto made = make_directories(fs::path(places->nodes), undo); !made) return give_up(made.error());
  auto nodes = adopt_nodes(urls, random, undo);
  if (!nodes) return give_up(nodes.error());

  const Keyring keyring = Keyring::generate(random);
  const SecretKey recovery = SecretKey::random(random);
  std::optional<std::string_view> wrapped_by;
  if (passphrase) wrapped_by = *passphrase;
  if (auto made = create_home(disk, fresh, keyring, recovery, wrapped_by, random); !made) return give_up(made.error());

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

  if (!arguments.kit.empty()) {
    RecoveryKit kit{arguments.name, keyring.volume(), recovery.clone(), *nodes, keyring.wrap(recovery, random)};
    if (auto written = write_secret_file(arguments.kit, kit_text(kit), undo); !written) return give_up(written.error());
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
                          {"nodes", nlohmann::json::array()}};
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
  if (!arguments.kit.empty())
    std::cout << "\nThe recovery kit is in " << arguments.kit << ". Print it, keep it away from this computer, delete the file.\n";
  else if (output_is_terminal())
    std::cout << "\nRecovery key, shown this once. Write it down; who has it can read the drive:\n\n"
              << recovery_words(recovery) << "\n";
  else
    std::cout << "\nNo recovery key was kept: without this computer nobody can open the drive. `atoll init --kit FILE` writes one.\n";
  std::cout << "\nNext: atoll mount" << (arguments.name == "default" ? "" : " " + arguments.name) << " MOUNTPOINT\n";
  return {};
}

}  // namespace atl
