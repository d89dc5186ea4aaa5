// `atoll recover`: a drive from its recovery kit and its nodes, on a computer that has never seen it; all of it or nothing.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cache/drive/home.h"
#include "cache/keys/node_credentials.h"
#include "cache/recovery/recovery.h"
#include "engine/base/posix_disk.h"
#include "engine/base/thread_runtime.h"
#include "fs/command/asked_nodes.h"
#include "fs/command/commands.h"
#include "fs/command/kit_files.h"
#include "fs/command/new_files.h"
#include "fs/command/papers.h"
#include "fs/command/terminal.h"
#include "fs/config/config.h"
#include "fs/config/places.h"

namespace atl {

namespace fs = std::filesystem;

namespace {

/// ID=ADDRESS: where a node is to be found now. The id may be shortened to what is unique.
Result<> move_node(std::vector<NodeSpec>& nodes, const std::string& given) {
  const std::size_t equals = given.find('=');
  if (equals == std::string::npos || equals < 4)
    return fail(Code::invalid, "\"" + given + "\" does not say which node is where", "--node ID=ADDRESS, with at least 4 digits of the id");
  const std::string id = given.substr(0, equals);
  std::vector<NodeSpec*> meant;
  for (NodeSpec& node : nodes)
    if (node.id.hex().starts_with(id)) meant.push_back(&node);
  if (meant.size() == 1) {
    meant.front()->url = given.substr(equals + 1);
    return {};
  }
  if (meant.empty()) {
    if (auto whole = NodeId::from_hex(id)) {
      nodes.push_back({*whole, given.substr(equals + 1), {}});
      return {};
    }
  }
  return fail(Code::invalid, std::to_string(meant.size()) + " nodes have an id that begins with " + id, "give the whole id");
}

std::string describe(const HeadSurvey& survey) {
  std::string text;
  for (const HeadAnswer& answer : survey.answers) {
    text += "  " + answer.node.url + ": ";
    switch (answer.standing) {
      case HeadAnswer::Standing::newest: text += "holds the newest state"; break;
      case HeadAnswer::Standing::stale: text += "holds an older state (generation " + std::to_string(answer.name.generation) + ")"; break;
      case HeadAnswer::Standing::none: text += "answers, and holds no state of this drive"; break;
      case HeadAnswer::Standing::wrong: text += "what it holds is damaged or was changed: " + answer.why; break;
      case HeadAnswer::Standing::silent: text += "silent: " + answer.why; break;
    }
    text += "\n";
  }
  return text;
}

}  // namespace

Outcome<> run_recover(const RecoverArguments& arguments) {
  PosixDisk disk;
  auto kit = read_kit_file(arguments.kit);
  if (!kit) return give_up(kit.error(), kit.error().code == Code::key ? Exit::key : Exit::failed);
  const std::string name = arguments.name.empty() ? (kit->drive_name.empty() ? "default" : kit->drive_name) : arguments.name;
  auto places = find_places(name);
  if (!places) return give_up(places.error(), Exit::usage);
  std::error_code error;
  if (fs::exists(places->state, error))
    return give_up(Error(Code::exists, "there is a drive " + name + " already, in " + places->state, "choose another name: --as NAME"), Exit::busy);
  auto keyring = Keyring::unwrap(kit->wrapped_keyring, kit->key);
  if (!keyring) return give_up(keyring.error());
  if (keyring->volume() != kit->volume) return give_up(Error(Code::key, "the keyring on the kit is another drive's", "type the kit's [volume] and [keyring] again"));
  std::vector<NodeSpec> nodes = kit->nodes;
  for (const std::string& given : arguments.nodes)
    if (auto moved = move_node(nodes, given); !moved) return give_up(moved.error(), Exit::usage);

  SystemClock clock;
  SystemRandom random;
  ThreadRuntime runtime(2, clock);
  const DriveSeams seams{disk, clock, random, runtime};
  auto credentials = passing_node_credentials(*keyring, random);
  if (!credentials) return give_up(credentials.error());
  auto asked = ask_nodes(seams, nodes, *credentials, *keyring, [&](std::vector<NodeSpec>& all) {
    for (const std::string& given : arguments.nodes) (void)move_node(all, given);  // was understood before
  });
  if (!asked) return give_up(asked.error());
  nodes = asked->nodes;
  const HeadSurvey& survey = asked->survey;
  if (!survey.head)
    return give_up(Error(Code::too_few_nodes, "none of the " + std::to_string(nodes.size()) + " nodes that the kit names gives the drive's state:\n" + describe(survey),
                         "bring nodes back; one that moved is given as --node ID=ADDRESS"));
  const Head& head = *survey.head;
  if (!head.wrapped_keyring.empty()) {
    auto newest = Keyring::unwrap(head.wrapped_keyring, kit->key);
    if (newest && newest->volume() == kit->volume) keyring = std::move(newest);
  }
  const std::size_t agree = survey.count(HeadAnswer::Standing::newest);
  if (!arguments.json)
    std::cout << agree << " of " << nodes.size() << " nodes agree on the newest state (generation " << head.generation << ", "
              << head.lsn.value << " changes).\n" << describe(survey);

  Undo undo;
  const std::string fresh = places->home + "/." + name + ".new-" + std::to_string(::getpid());
  if (auto made = make_directories(fs::path(places->home), undo); !made) return give_up(made.error());
  undo.add([fresh] {
    std::error_code ignored;
    fs::remove_all(fresh, ignored);
  });
  if (auto made = disk.make_directory(fresh); !made) return give_up(made.error());
  std::optional<std::string> passphrase;
  if (!arguments.passphrase_file.empty()) {
    auto found = find_passphrase(arguments.passphrase_file, name);
    if (!found) return give_up(found.error(), Exit::key);
    passphrase = std::move(*found);
  }
  std::optional<std::string_view> wrapped_by;
  if (passphrase) wrapped_by = *passphrase;
  if (auto made = create_home(disk, fresh, *keyring, kit->key, wrapped_by, random); !made) return give_up(made.error());
  {
    ProgressBar bar;
    auto rebuilt = rebuild_state(seams, fresh, *asked->engine, head, *keyring, nodes, node_patience,
                                 [&](const RecoveryProgress& progress) { bar.show(progress.objects_done, progress.objects_total); });
    if (!rebuilt) return give_up(rebuilt.error());
  }
  auto claim = claim_epoch(seams, fresh, *asked->engine, nodes, *keyring, survey.epoch_max + 1, HistoryPoint::of(head), node_patience);
  if (!claim) return give_up(claim.error());
  asked->engine->close();
  std::uint64_t files = 0;
  {
    // Opened once: what came from the nodes is proved to be a drive, and its index is made.
    auto copy = Keyring::unwrap(keyring->wrap(kit->key, random), kit->key);
    if (!copy) return give_up(copy.error());
    auto opened = Drive::open(seams, fresh, std::move(*copy), DriveOptions{});
    if (!opened) return give_up(opened.error());
    files = (*opened)->status().files;
    if (auto closed = (*opened)->close(std::chrono::seconds(10)); !closed) return give_up(closed.error());
  }
  if (!fs::exists(places->config_file, error)) {
    if (auto made = make_directories(fs::path(places->config_file).parent_path(), undo); !made) return give_up(made.error());
    if (auto written = write_secret_file(places->config_file, default_config_text(name), undo); !written) return give_up(written.error());
  }
  if (auto noted = note_kit(disk, fresh, kit->nodes, clock.wall_now()); !noted) return give_up(noted.error());
  if (auto named = disk.rename_new(fresh, places->state); !named) return give_up(named.error());
  undo.forget();
  if (auto synced = disk.sync_directory(places->home); !synced) return give_up(synced.error());

  if (arguments.json) {
    nlohmann::json answer{{"schema", 1}, {"name", name}, {"state", places->state}, {"files", files}, {"generation", head.generation},
                          {"epoch", claim->epoch}, {"fenced_for_certain", claim->certain()}, {"nodes", nlohmann::json::array()}};
    for (const HeadAnswer& node : survey.answers)
      answer["nodes"].push_back({{"id", node.node.id.hex()}, {"url", node.node.url}, {"head", to_string(node.standing)}, {"why", node.why}});
    std::cout << answer.dump() << "\n";
  } else {
    std::cout << "The drive \"" << name << "\" is back: " << files << " files, in " << places->state << ".\n";
    if (!claim->certain())
      std::cout << "Only " << claim->taken << " of " << nodes.size() << " nodes know that this computer owns the drive now. Should the old computer still\n"
                << "be running, it may not notice: stop it, or bring more nodes back.\n";
    if (arguments.mount_point.empty()) std::cout << "\nNext: atoll mount" << (name == "default" ? "" : " " + name) << " MOUNTPOINT\n";
  }
  if (arguments.mount_point.empty()) return {};
  std::cout.flush();
  MountArguments mount;
  mount.name = name;
  mount.mount_point = arguments.mount_point;
  mount.passphrase_file = arguments.passphrase_file;
  mount.json = arguments.json;
  return run_mount(mount);
}

}  // namespace atl
