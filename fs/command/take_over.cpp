#include "fs/command/take_over.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <iostream>

#include "cache/drive/home.h"
#include "cache/drive/paths.h"
#include "cache/heads/head_store.h"
#include "cache/keys/node_credentials.h"
#include "cache/recovery/take_over.h"
#include "engine/base/os_error.h"
#include "engine/base/posix_disk.h"
#include "engine/base/thread_runtime.h"
#include "fs/command/asked_nodes.h"
#include "fs/command/new_files.h"
#include "fs/command/terminal.h"

namespace atl {

namespace fs = std::filesystem;

namespace {

constexpr auto lock_wait = std::chrono::seconds(15);
constexpr std::uint64_t key_file_bytes_max = 16u << 20;
constexpr std::size_t partly_told = 20;

/// Two folders change places, in one step.
Result<> exchange(const std::string& a, const std::string& b) {
  if (::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0) return {};
  return fail_errno("swap with " + a, b);
}

/// Learnt before anything is done: some file systems cannot.
Result<> can_exchange(Disk& disk, const std::string& home) {
  const std::string a = home + "/.swap-a-" + std::to_string(::getpid());
  const std::string b = home + "/.swap-b-" + std::to_string(::getpid());
  Result<> done = disk.make_directory(a);
  if (done) done = disk.make_directory(b);
  if (done) done = exchange(a, b);
  (void)disk.remove(a);
  (void)disk.remove(b);
  if (done) return {};
  return fail(Code::unsupported, "the file system of " + home + " cannot swap two folders in one step: " + done.error().what,
              "move " + home + " to a local ext4, xfs or btrfs, or recover the drive from its kit under another name");
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == 0) return "another computer";
  std::string host(name.data());
  for (char& c : host)
    if (c == '/') c = '_';
  return host.substr(0, 200);
}

/// The keys of the old folder, and the notes beside them.
Result<> copy_keys(Disk& disk, const std::string& from, const std::string& to) {
  for (const char* name : {"volume", "local.key", "device.key", "kit", "drill"}) {
    auto bytes = read_file(disk, from + "/" + name, key_file_bytes_max);
    if (!bytes && bytes.error().code == Code::not_found) continue;
    if (!bytes) return fail(bytes.error());
    if (auto written = replace_file(disk, to + "/" + name, *bytes); !written) return written;
  }
  return {};
}

/// What the nodes' newest head was written under, where that is more than this computer has.
Result<std::optional<Keyring>> newer_keyring(Disk& disk, const std::string& state, const Keyring& own, const Head& head) {
  if (head.wrapped_keyring.empty()) return std::optional<Keyring>();
  auto recovery = read_recovery_key(disk, state, own);
  if (!recovery && recovery.error().code == Code::not_found) return std::optional<Keyring>();
  if (!recovery) return fail(recovery.error());
  auto theirs = Keyring::unwrap(head.wrapped_keyring, *recovery);
  if (!theirs && theirs.error().code == Code::key)
    return fail(Code::key, "the new owner made a new recovery key, which this computer does not have", "bring the drive here with the new kit: atoll recover --kit FILE --as ANOTHER_NAME");
  if (!theirs) return fail(theirs.error());
  if (theirs->volume() != own.volume() || theirs->current() <= own.current()) return std::optional<Keyring>();
  return std::optional<Keyring>(std::move(*theirs));
}

/// What take-overs left that were ended in the middle: a folder that was not finished goes; one that holds what this computer
/// had before the folders were swapped stays, under a name that says so, since nobody has said whether all of it was brought.
Result<> clear_unfinished(Disk& disk, const Places& places) {
  auto names = disk.list(places.home);
  if (!names) return fail(names.error());
  auto own = claimed_epoch(disk, heads_directory(places.state));
  if (!own) return fail(own.error());
  for (const std::string& name : *names) {
    if (!name.starts_with("." + places.name + ".new-")) continue;
    const std::string path = places.home + "/" + name;
    auto locked = HomeLock::acquire(path, std::chrono::milliseconds(0));
    if (!locked && locked.error().code == Code::busy) continue;  // somebody makes it at this moment
    if (!locked) return fail(locked.error());
    auto was = disk.exists(path + "/volume");
    if (!was) return fail(was.error());
    auto epoch = claimed_epoch(disk, heads_directory(path));
    if (!epoch) return fail(epoch.error());
    if (*was && *epoch < *own) {
      if (auto kept = disk.rename_new(path, places.state + ".before-epoch-" + std::to_string(*own)); !kept) return kept;
      continue;
    }
    std::error_code error;
    fs::remove_all(path, error);
    if (error) return fail(Code::io, "removing " + path + " failed: " + error.message(), "remove it: a take-over that was ended in the middle left it");
  }
  return {};
}

void tell(const Places& places, const TakenOver& taken, const std::string& kept) {
  std::cout << "This computer owns the drive \"" << places.name << "\" again (epoch " << taken.claim.epoch << ").\n";
  if (!taken.claim.certain())
    std::cout << "Only " << taken.claim.taken << " of " << taken.claim.nodes << " nodes know that. Should the other computer still be running, it may not notice:\n"
              << "stop it, or bring more nodes back.\n";
  if (taken.in_place) {
    std::cout << "The nodes knew of nothing that is not here; what is only here goes to them now.\n";
    return;
  }
  std::cout << "The drive is as the nodes knew it last.";
  const Brought& brought = taken.brought;
  if (brought.folder.empty())
    std::cout << " They knew of everything that was saved here.\n";
  else
    std::cout << " What was saved here and not there is in its folder \"" << brought.folder << "\": " << plural(brought.files, "file") << ", " << human_bytes(brought.bytes) << ".\n";
  if (!taken.parting_known) std::cout << "Where the two histories parted is not known any more, so that all that looked different was brought.\n";
  for (std::size_t i = 0; i < std::min(brought.partly.size(), partly_told); ++i) std::cout << "  could not be read whole: " << brought.partly[i] << "\n";
  if (!kept.empty()) std::cout << "The old state is kept in " << kept << ".\n";
}

}  // namespace

Outcome<> take_over_drive(const Places& places, const std::string& passphrase_file) {
  PosixDisk disk;
  SystemClock clock;
  SystemRandom random;
  std::optional<std::string> passphrase;
  auto keyring = unlock_home(disk, places.state, [&] {
    auto found = find_passphrase(passphrase_file, places.name);
    if (found) passphrase = *found;
    return found;
  });
  if (!keyring) return give_up(keyring.error());
  auto lock = HomeLock::acquire(places.state, lock_wait);
  if (!lock) return give_up(lock.error());
  if (auto able = can_exchange(disk, places.home); !able) return give_up(able.error());
  ThreadRuntime runtime(2, clock);
  const DriveSeams seams{disk, clock, random, runtime};
  auto credentials = node_credentials(disk, places.state, *keyring, random);
  if (!credentials) return give_up(credentials.error());
  std::vector<NodeSpec> nodes;
  {
    auto peeked = Drive::peek(disk, places.state);
    if (!peeked) return give_up(peeked.error());
    for (const NodeStatus& node : peeked->nodes) nodes.push_back(node.spec);
  }
  auto asked = ask_nodes(seams, nodes, *credentials, *keyring);
  if (!asked) return give_up(asked.error());
  const HeadSurvey& survey = asked->survey;
  if (!survey.head)
    return give_up(Error(Code::too_few_nodes, "none of the " + std::to_string(asked->nodes.size()) + " nodes gives the drive's state", "bring nodes back; what is here stays as it is"));
  auto newer = newer_keyring(disk, places.state, *keyring, *survey.head);
  if (!newer) return give_up(newer.error());
  const Keyring& keys = *newer ? **newer : *keyring;

  if (auto tidied = clear_unfinished(disk, places); !tidied) return give_up(tidied.error());
  Undo undo;
  const std::string fresh = places.home + "/." + places.name + ".new-" + std::to_string(::getpid());
  undo.add([fresh] {
    std::error_code ignored;
    fs::remove_all(fresh, ignored);
  });
  if (auto made = disk.make_directory(fresh); !made) return give_up(made.error());
  auto making = HomeLock::acquire(fresh, lock_wait);  // so that nobody takes it for one that was left
  if (!making) return give_up(making.error());
  auto taken = take_over(seams, places.state, fresh, keys, *asked->engine, asked->nodes, survey, host_name(), node_patience, {});
  asked->engine->close();
  if (!taken) return give_up(taken.error());
  if (taken->in_place) {
    tell(places, *taken, {});
    return {};
  }
  if (auto copied = copy_keys(disk, places.state, fresh); !copied) return give_up(copied.error());
  if (*newer) {
    auto recovery = read_recovery_key(disk, places.state, *keyring);
    if (!recovery) return give_up(recovery.error());
    std::optional<std::string_view> wrapped_by;
    if (passphrase) wrapped_by = *passphrase;
    if (auto changed = rewrap_home(disk, fresh, keys, &*recovery, wrapped_by, random); !changed) return give_up(changed.error());
  }
  if (auto synced = disk.sync_directory(fresh); !synced) return give_up(synced.error());
  if (auto swapped = exchange(fresh, places.state); !swapped) return give_up(swapped.error());
  if (auto synced = disk.sync_directory(places.home); !synced) return give_up(synced.error());
  undo.forget();
  // `fresh` names the old folder now. It goes only if all that it had beyond the nodes is in the new one.
  std::string kept;
  std::error_code error;
  if (taken->brought.partly.empty()) {
    fs::remove_all(fresh, error);
  } else {
    kept = places.state + ".before-epoch-" + std::to_string(taken->claim.epoch);
    if (auto named = disk.rename_new(fresh, kept); !named) kept = fresh;
  }
  tell(places, *taken, kept);
  return {};
}

}  // namespace atl
