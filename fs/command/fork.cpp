#include "fs/command/fork.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cache/drive/home.h"
#include "cache/recovery/fork.h"
#include "cache/recovery/take_over.h"
#include "engine/base/posix_disk.h"
#include "engine/base/thread_runtime.h"
#include "fs/command/asked_nodes.h"
#include "fs/command/new_files.h"
#include "fs/command/running_drive.h"
#include "fs/command/terminal.h"
#include "fs/config/places.h"

namespace atl {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr auto lock_wait = std::chrono::seconds(2);
constexpr auto close_bound = std::chrono::seconds(30);
constexpr std::size_t partly_told = 20;

std::string id_of(const Head& head) { return std::to_string(head.epoch) + "-" + std::to_string(head.generation); }

/// The drive's keys, its nodes, and what these say.
struct Asked {
  PosixDisk disk;
  SystemClock clock;
  SystemRandom random;
  ThreadRuntime runtime{2, clock};
  std::optional<Keyring> keyring;
  AskedNodes nodes;
  std::vector<KnownFork> forks;

  DriveSeams seams() { return {disk, clock, random, runtime}; }
  Outcome<> ask(const Places& places, const std::string& passphrase_file) {
    auto opened = unlock_home(disk, places.state, [&] { return find_passphrase(passphrase_file, places.name); });
    if (!opened) return give_up(opened.error());
    keyring.emplace(std::move(*opened));
    auto credentials = node_credentials(disk, places.state, *keyring, random);
    if (!credentials) return give_up(credentials.error());
    auto peeked = Drive::peek(disk, places.state);
    if (!peeked) return give_up(peeked.error());
    std::vector<NodeSpec> known;
    for (const NodeStatus& node : peeked->nodes) known.push_back(node.spec);
    auto asked = ask_nodes(seams(), known, *credentials, *keyring);
    if (!asked) return give_up(asked.error());
    nodes = std::move(*asked);
    if (!nodes.survey.head)
      return give_up(Error(Code::too_few_nodes, "none of the " + std::to_string(nodes.nodes.size()) + " nodes gives the drive's state", "bring nodes back"));
    auto found = survey_forks(seams(), *nodes.engine, nodes.nodes, *keyring, node_patience);
    if (!found) return give_up(found.error());
    forks = std::move(*found);
    return {};
  }
};

json fork_json(const KnownFork& fork) {
  json nodes = json::array();
  for (const NodeSpec& node : fork.nodes) nodes.push_back(node.url);
  json entry{{"id", id_of(fork.head)}, {"epoch", fork.head.epoch}, {"generation", fork.head.generation}, {"made_at", fork.head.made_at.seconds},
             {"changes", nullptr}, {"nodes", std::move(nodes)}};
  if (fork.parting) entry["changes"] = fork.head.lsn.value - std::min(fork.head.lsn.value, fork.parting->lsn.value);
  return entry;
}

Outcome<KnownFork> choose(const std::vector<KnownFork>& forks, const std::string& id) {
  if (forks.empty()) return give_up(Error(Code::not_found, "the nodes that can be reached hold no fork of this drive", "bring more nodes back; `atoll fork list` asks them again"));
  if (id.empty() && forks.size() == 1) return forks.front();
  if (id.empty()) return give_up(Error(Code::invalid, "there are " + std::to_string(forks.size()) + " forks", "say which: `atoll fork list` shows them"), Exit::usage);
  for (const KnownFork& fork : forks)
    if (id_of(fork.head) == id) return fork;
  return give_up(Error(Code::not_found, "no fork is called " + id, "`atoll fork list` shows them"), Exit::usage);
}

}  // namespace

Outcome<> run_fork_list(const ForkArguments& arguments) {
  auto places = find_drive(arguments.name);
  if (!places) return tl::unexpected<Failure>(places.error());
  Asked asked;
  if (auto done = asked.ask(*places, arguments.passphrase_file); !done) return done;
  asked.nodes.engine->close();
  if (arguments.json) {
    json answer{{"schema", 1}, {"forks", json::array()}};
    for (const KnownFork& fork : asked.forks) answer["forks"].push_back(fork_json(fork));
    std::cout << answer.dump() << "\n";
    return {};
  }
  if (asked.forks.empty()) std::cout << "The nodes hold no state of this drive beside its own.\n";
  for (const KnownFork& fork : asked.forks) {
    std::cout << id_of(fork.head) << "  ";
    if (fork.parting)
      std::cout << plural(fork.head.lsn.value - std::min(fork.head.lsn.value, fork.parting->lsn.value), "change") << " that the drive does not have";
    else
      std::cout << "where it parted from the drive is not known";
    std::cout << ", on " << plural(fork.nodes.size(), "node") << "\n";
  }
  return {};
}

Outcome<> run_fork_bring(const ForkArguments& arguments) {
  auto places = find_drive(arguments.name);
  if (!places) return tl::unexpected<Failure>(places.error());
  auto lock = HomeLock::acquire(places->state, lock_wait);
  if (!lock) return give_up(lock.error());
  Asked asked;
  if (auto done = asked.ask(*places, arguments.passphrase_file); !done) return done;
  auto fork = choose(asked.forks, arguments.head);
  if (!fork) return tl::unexpected<Failure>(fork.error());
  const std::string folder = "Recovered from epoch " + std::to_string(fork->head.epoch);

  Undo undo;
  const std::string scratch = places->home + "/." + places->name + ".fork";
  std::error_code ignored;
  fs::remove_all(scratch, ignored);  // of one that was ended in the middle; what stays is in the way of the next line
  undo.add([scratch] {
    std::error_code left;
    fs::remove_all(scratch, left);
  });
  if (auto made = asked.disk.make_directory(scratch); !made) return give_up(made.error());
  BroughtFork brought;
  {
    DriveOptions roomy;  // nothing is shipped before the next mount: all of it waits here
    roomy.staging_max = std::uint64_t{1} << 60;
    auto opened = Drive::open(asked.seams(), places->state, *asked.keyring, roomy);
    if (!opened) return give_up(opened.error());
    auto done = bring_fork(asked.seams(), **opened, *fork, scratch, *asked.keyring, *asked.nodes.engine, asked.nodes.nodes, folder, node_patience);
    auto closed = (*opened)->close(close_bound);
    if (!done) return give_up(done.error());
    if (!closed) return give_up(closed.error());
    brought = std::move(*done);
  }
  std::optional<TakenOver> resolved;
  if (brought.brought.partly.empty()) {
    auto claimed = take_over_in_place(asked.seams(), places->state, *asked.keyring, *asked.nodes.engine, asked.nodes.nodes, asked.nodes.survey, node_patience);
    if (!claimed) return give_up(claimed.error());
    if (!*claimed) return give_up(Error(Code::fenced, "another computer owns this drive now; what was brought is here", "take it back: atoll mount --take-over"));
    resolved = std::move(**claimed);
  }
  asked.nodes.engine->close();
  const Brought& what = brought.brought;
  if (arguments.json) {
    std::cout << json{{"schema", 1}, {"id", id_of(fork->head)}, {"folder", what.folder}, {"files", what.files}, {"bytes", what.bytes},
                      {"partly", what.partly}, {"resolved", resolved.has_value()}}.dump()
              << "\n";
    return {};
  }
  if (what.folder.empty())
    std::cout << "The drive has everything that was in it.\n";
  else
    std::cout << "What was in it and not in the drive is in its folder \"" << what.folder << "\": " << plural(what.files, "file") << ", " << human_bytes(what.bytes) << ".\n";
  if (!brought.parting_known) std::cout << "Where the two histories parted is not known any more, so that all that looked different was brought.\n";
  for (std::size_t i = 0; i < std::min(what.partly.size(), partly_told); ++i) std::cout << "  could not be read whole: " << what.partly[i] << "\n";
  if (!resolved) {
    std::cout << "The fork stays on the nodes, since not all of it could be read: bring nodes back and run this again, or give it up with\n"
              << "`atoll mount --take-over` on this computer.\n";
  } else if (!resolved->claim.certain()) {
    std::cout << "Only " << resolved->claim.taken << " of " << resolved->claim.nodes << " nodes know that it is resolved.\n";
  }
  return {};
}

void add_fork_commands(CLI::App& app, std::function<Outcome<>()>& command) {
  auto arguments = std::make_shared<ForkArguments>();
  auto* const fork = app.add_subcommand("fork", "States that nodes hold beside the drive's own, after two computers went on with it");
  fork->require_subcommand(1);
  auto* const listing = fork->add_subcommand("list", "Ask the nodes for them");
  auto* const bringing = fork->add_subcommand("bring", "Bring one into the drive as files, in a folder of its own; the drive is not mounted");
  for (CLI::App* const each : {listing, bringing}) {
    each->add_option("NAME", arguments->name, "the drive's name (default: default)");
    each->add_option("--passphrase-file", arguments->passphrase_file, "read the passphrase from this file, - asks");
    each->add_flag("--json", arguments->json, "as JSON");
  }
  bringing->add_option("--head", arguments->head, "which one, EPOCH-GENERATION as `atoll fork list` says (default: the only one)");
  listing->callback([=, &command] { command = [=] { return run_fork_list(*arguments); }; });
  bringing->callback([=, &command] { command = [=] { return run_fork_bring(*arguments); }; });
}

}  // namespace atl
