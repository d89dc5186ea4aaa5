// `atoll kit`: the page that brings the drive back, made again.
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cache/drive/home.h"
#include "engine/base/posix_disk.h"
#include "fs/command/commands.h"
#include "fs/command/kit_files.h"
#include "fs/command/papers.h"
#include "fs/command/running_drive.h"
#include "fs/command/terminal.h"
#include "fs/kit/kit_page.h"

namespace atl {

namespace {

using nlohmann::json;

std::vector<NodeSpec> nodes_of(const json& status) {
  std::vector<NodeSpec> nodes;
  for (const json& node : status.at("nodes")) {
    const auto id = NodeId::from_hex(node.at("id").get<std::string>());
    if (!id) continue;
    NodeSpec spec{*id, node.at("url").get<std::string>(), node.at("labels").get<Labels>()};
    if (const auto care = node.find("care"); care != node.end()) spec.draining = care->value("leaving", false);
    nodes.push_back(std::move(spec));
  }
  return nodes;
}

}  // namespace

Outcome<> run_kit_export(const KitExportArguments& arguments) {
  if (arguments.pdf.empty() && arguments.text.empty() && !output_is_terminal())
    return give_up(Error(Code::invalid, "a recovery kit is secret: it is shown at a terminal, and nowhere else", "name a new file: --pdf FILE or --text FILE"),
                   Exit::usage);
  auto places = find_drive(arguments.name);
  if (!places) return tl::unexpected<Failure>(places.error());
  for (const std::string& path : {arguments.pdf, arguments.text}) {
    std::error_code error;
    if (!path.empty() && std::filesystem::exists(std::filesystem::symlink_status(path, error)))
      return give_up(Error(Code::exists, path + " is there already and is not overwritten", "choose another file"));
  }
  auto status = drive_status(*places);
  if (!status) return tl::unexpected<Failure>(status.error());
  PosixDisk disk;
  SystemRandom random;
  auto keyring = unlock_home(disk, places->state, [&] { return find_passphrase(arguments.passphrase_file, places->name); });
  if (!keyring) return give_up(keyring.error());
  auto key = read_recovery_key(disk, places->state, *keyring);
  if (!key) return give_up(key.error());
  const json& redundancy = status->at("redundancy");
  const Redundancy code{redundancy.at("k").get<std::uint8_t>(), redundancy.at("n").get<std::uint8_t>()};
  Bytes wrapped = keyring->wrap(*key, random);
  const RecoveryKit kit{places->name, keyring->volume(), std::move(*key), nodes_for_kit(nodes_of(*status), code, kit_page_nodes_max, random), std::move(wrapped)};

  Undo undo;
  if (!arguments.pdf.empty()) {
    auto page = kit_page_pdf(kit);
    if (!page) return give_up(page.error());
    if (auto written = write_secret_file(arguments.pdf, *page, undo); !written) return give_up(written.error());
  }
  if (!arguments.text.empty())
    if (auto written = write_secret_file(arguments.text, kit_text(kit), undo); !written) return give_up(written.error());
  if (auto noted = note_kit(disk, places->state, kit.nodes, SystemClock().wall_now()); !noted) return give_up(noted.error());
  undo.forget();
  if (arguments.pdf.empty() && arguments.text.empty()) {
    std::cout << kit_text(kit);
    return {};
  }
  std::cout << "The recovery kit is in";
  for (const std::string& path : {arguments.pdf, arguments.text})
    if (!path.empty()) std::cout << " " << path;
  std::cout << ". Print it, keep it away from this computer, delete the file.\n";
  return {};
}

}  // namespace atl
