#include "fs/command/key.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cache/drive/drive.h"
#include "cache/drive/home.h"
#include "engine/base/posix_disk.h"
#include "fs/command/kit_files.h"
#include "fs/command/papers.h"
#include "fs/command/running_drive.h"
#include "fs/command/terminal.h"
#include "fs/kit/kit_page.h"

namespace atl {

namespace {

/// An unmounted drive, its keyring open and its folder locked.
struct OpenedHome {
  Places places;
  std::unique_ptr<HomeLock> lock;
  std::optional<std::string> passphrase;  // if one opened it
  std::optional<Keyring> keyring;
};

Outcome<OpenedHome> open_home(Disk& disk, const std::string& name, const std::string& passphrase_file) {
  OpenedHome home;
  auto places = find_drive(name);
  if (!places) return tl::unexpected<Failure>(places.error());
  home.places = std::move(*places);
  auto lock = HomeLock::acquire(home.places.state, std::chrono::milliseconds(0));
  if (!lock) return give_up(Error(lock.error().code, lock.error().what, "keys are changed while the drive is not mounted: atoll umount MOUNTPOINT"));
  home.lock = std::move(*lock);
  auto keyring = unlock_home(disk, home.places.state, [&]() -> Result<std::string> {
    auto found = find_passphrase(passphrase_file, name);
    if (found) home.passphrase = *found;
    return found;
  });
  if (!keyring) return give_up(keyring.error());
  home.keyring = std::move(*keyring);
  return home;
}

std::optional<std::string_view> view_of(const std::optional<std::string>& text) {
  return text ? std::optional<std::string_view>(*text) : std::nullopt;
}

}  // namespace

Outcome<> run_key_passphrase(const KeyPassphraseArguments& arguments) {
  PosixDisk disk;
  SystemRandom random;
  auto home = open_home(disk, arguments.name, arguments.passphrase_file);
  if (!home) return tl::unexpected<Failure>(home.error());
  const bool had_one = home->passphrase.has_value();
  std::optional<std::string> passphrase;
  if (arguments.remove) {
    if (!had_one) return give_up(Error(Code::invalid, "the drive " + arguments.name + " has no passphrase"));
  } else if (!arguments.new_passphrase_file.empty()) {
    auto found = find_passphrase(arguments.new_passphrase_file, arguments.name);
    if (!found) return give_up(found.error(), Exit::key);
    passphrase = std::move(*found);
  } else {
    auto first = ask_passphrase("New passphrase of the drive " + arguments.name + ": ");
    if (!first) return give_up(first.error(), Exit::key);
    auto again = ask_passphrase("The same again: ");
    if (!again) return give_up(again.error(), Exit::key);
    if (*first != *again) return give_up(Error(Code::key, "the two passphrases differ"), Exit::key);
    passphrase = std::move(*first);
  }
  if (auto changed = rewrap_home(disk, home->places.state, *home->keyring, nullptr, view_of(passphrase), random); !changed) return give_up(changed.error());
  if (arguments.remove)
    std::cout << "The passphrase is removed: a file of this user opens the drive now.\n";
  else
    std::cout << "The passphrase is " << (had_one ? "changed" : "set") << ". The recovery kit opens the drive without it.\n";
  return {};
}

Outcome<> run_key_rotate(const KeyRotateArguments& arguments) {
  PosixDisk disk;
  SystemRandom random;
  auto home = open_home(disk, arguments.name, arguments.passphrase_file);
  if (!home) return tl::unexpected<Failure>(home.error());
  const Keyring next = home->keyring->rotated(random);
  SecretKey recovery;
  Undo undo;
  std::string kit_path;
  std::vector<NodeSpec> entries;
  if (!arguments.new_recovery_key) {
    auto kept = read_recovery_key(disk, home->places.state, *home->keyring);
    if (!kept) return give_up(kept.error());
    recovery = std::move(*kept);
  } else {
    recovery = SecretKey::random(random);
    auto peeked = Drive::peek(disk, home->places.state);
    if (!peeked) return give_up(peeked.error());
    std::vector<NodeSpec> nodes;
    for (const NodeStatus& node : peeked->nodes) nodes.push_back(node.spec);
    // The page before the key: with it in hand, whatever happens next locks nobody out.
    const RecoveryKit kit{home->places.name, next.volume(), recovery.clone(), nodes_for_kit(nodes, peeked->redundancy, kit_page_nodes_max, random),
                          next.wrap(recovery, random)};
    auto path = arguments.kit.empty() ? write_default_kit(home->places, kit, undo) : write_kit_file(arguments.kit, kit, undo).map([&] { return arguments.kit; });
    if (!path) return give_up(path.error());
    kit_path = *path;
    entries = kit.nodes;
  }
  if (auto changed = rewrap_home(disk, home->places.state, next, &recovery, view_of(home->passphrase), random); !changed) return give_up(changed.error());
  undo.forget();
  if (arguments.new_recovery_key)
    if (auto noted = note_kit(disk, home->places.state, entries, SystemClock().wall_now()); !noted) return give_up(noted.error());
  std::cout << "Key " << next.current().value << " is in use: what is saved from now on is sealed under it.\n";
  if (!arguments.new_recovery_key) {
    std::cout << "The recovery kit stays good: it opens what was saved and what will be.\n";
    return {};
  }
  std::cout << "The new recovery kit is in " << kit_path << ". Print it, keep it away from this computer, delete the file.\n\n"
            << "The old kit still opens, for whoever reaches the nodes: the content of what was saved until now, and the names, sizes\n"
            << "and times of all files, also of later ones. It does not open the content of what is saved from now on. Its holder could still take the drive over, as `recover` does.\n";
  return {};
}

void add_key_commands(CLI::App& app, std::function<Outcome<>()>& command) {
  auto* const key = app.add_subcommand("key", "What opens the drive, and what its data is sealed with");
  key->require_subcommand(1);
  const std::string name_help = "the drive's name (default: default)";
  const std::string file_help = "read the present passphrase from this file, - asks";

  auto passphrase = std::make_shared<KeyPassphraseArguments>();
  auto* const passphrase_command = key->add_subcommand("passphrase", "Set, change or remove the passphrase");
  passphrase_command->add_option("NAME", passphrase->name, name_help);
  passphrase_command->add_option("--passphrase-file", passphrase->passphrase_file, file_help);
  auto* const fresh = passphrase_command->add_option("--new-passphrase-file", passphrase->new_passphrase_file, "read the new one from this file, - asks");
  passphrase_command->add_flag("--remove", passphrase->remove, "a file of this user opens the drive instead")->excludes(fresh);
  passphrase_command->add_flag("--json", passphrase->json, "errors as JSON");
  passphrase_command->callback([=, &command] { command = [=] { return run_key_passphrase(*passphrase); }; });

  auto rotate = std::make_shared<KeyRotateArguments>();
  auto* const rotate_command = key->add_subcommand("rotate", "Seal what is saved from now on under a new key");
  rotate_command->add_option("NAME", rotate->name, name_help);
  rotate_command->add_option("--passphrase-file", rotate->passphrase_file, file_help);
  auto* const renewed = rotate_command->add_flag("--new-recovery-key", rotate->new_recovery_key, "and make a new recovery key and kit: the old kit was seen by others");
  rotate_command->add_option("--kit", rotate->kit, "the new file for the new kit (default: a PDF beside the state folder)")->needs(renewed);
  rotate_command->add_flag("--json", rotate->json, "errors as JSON");
  rotate_command->callback([=, &command] { command = [=] { return run_key_rotate(*rotate); }; });
}

}  // namespace atl
