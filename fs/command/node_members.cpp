#include "fs/command/node_members.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "fs/command/node_changes.h"
#include "fs/command/opened_drive.h"
#include "fs/command/redundancy.h"
#include "fs/command/running_drive.h"
#include "fs/command/terminal.h"
#include "fs/config/quantities.h"

namespace atl {

using nlohmann::json;

namespace {

void print(const json& answer, const std::string& done) {
  std::cout << answer.at("url").get<std::string>() << " " << done << ".";
  for (const auto& [key, value] : answer.at("labels").items()) std::cout << "  " << key << "=" << value.get<std::string>();
  std::cout << "\n";
}

/// What the nodes at hand suggest, if the drive has something else.
void suggest(const json& answer, const std::string& name) {
  const auto nodes = answer.at("nodes").get<std::size_t>();
  const Redundancy suggested = default_redundancy(nodes);
  if (suggested.k == answer.at("k").get<unsigned>() && suggested.n == answer.at("n").get<unsigned>()) return;
  const std::string text = std::to_string(suggested.k) + "/" + std::to_string(suggested.n);
  std::cout << "For " << plural(nodes, "node") << ", " << text << " is suggested: atoll redundancy set " << (name == "default" ? "" : name + " ") << text << "\n";
}

}  // namespace

Outcome<json> change_drive(const std::string& name, const std::string& passphrase_file, const json& request) {
  auto places = find_drive(name);
  if (!places) return tl::unexpected<Failure>(places.error());
  auto client = ControlClient::connect(places->socket);
  if (client) {
    auto answer = (*client)->ask(request, answer_patience);
    if (!answer) return give_up(answer.error());
    return *answer;
  }
  if (client.error().code != Code::not_found) return give_up(client.error());
  auto opened = OpenedDrive::open(*places, passphrase_file, DriveOptions{});
  if (!opened) return tl::unexpected<Failure>(opened.error());
  auto answer = change_nodes((*opened)->drive(), (*opened)->credentials(), (*opened)->clock(), (*opened)->random(), request);
  auto closed = (*opened)->close();
  if (!answer) return give_up(answer.error());
  if (!closed) return give_up(closed.error());
  return *answer;
}

Outcome<> run_node_add(const NodeAddArguments& arguments) {
  auto labels = parse_labels(arguments.labels);
  if (!labels) return give_up(labels.error(), Exit::usage);
  std::string node = arguments.node;
  constexpr std::string_view folder = "dir:";
  if (node.starts_with(folder) && node.size() > folder.size())
    node = std::string(folder) + std::filesystem::absolute(node.substr(folder.size())).lexically_normal().string();
  auto answer = change_drive(arguments.name, arguments.passphrase_file, {{"do", "node_add"}, {"node", node}, {"labels", *labels}});
  if (!answer) return tl::unexpected<Failure>(answer.error());
  print(*answer, answer->at("known").get<bool>() ? "was a node of this drive; its address and labels are these now" : "is a node of this drive now");
  suggest(*answer, arguments.name);
  return {};
}

Outcome<> run_node_label(const NodeLabelArguments& arguments) {
  auto labels = parse_labels(arguments.labels);
  if (!labels) return give_up(labels.error(), Exit::usage);
  auto answer = change_drive(arguments.name, arguments.passphrase_file,
                       {{"do", "node_label"}, {"node", arguments.node}, {"labels", *labels}, {"remove", arguments.removed}});
  if (!answer) return tl::unexpected<Failure>(answer.error());
  print(*answer, "is labelled");
  return {};
}

Outcome<> run_node_devices(const NodeDevicesArguments& arguments) {
  auto answer = change_drive(arguments.name, arguments.passphrase_file, {{"do", "devices"}});
  if (!answer) return tl::unexpected<Failure>(answer.error());
  if (arguments.json) {
    std::cout << answer->dump() << "\n";
    return {};
  }
  for (const json& device : answer->at("devices")) {
    const auto revoked = device.at("revoked_at").get<std::uint64_t>();
    std::cout << device.at("id").get<std::string>() << "  ";
    if (revoked != 0)
      std::cout << "revoked at " << plural(revoked, "node");
    else
      std::cout << "known to " << plural(device.at("nodes").get<std::uint64_t>(), "node");
    std::cout << (device.at("id") == answer->at("own") ? ": this computer\n" : "\n");
  }
  for (const json& url : answer->at("silent")) std::cout << url.get<std::string>() << " does not answer\n";
  return {};
}

Outcome<> run_node_revoke(const NodeDevicesArguments& arguments) {
  auto answer = change_drive(arguments.name, arguments.passphrase_file, {{"do", "revoke"}, {"device", arguments.revoked}});
  if (!answer) return tl::unexpected<Failure>(answer.error());
  std::cout << answer->at("id").get<std::string>().substr(0, 16) << " is refused by " << plural(answer->at("nodes").get<std::uint64_t>(), "node") << " now.\n";
  const json delegate = answer->value("delegate", json(false));
  if (delegate == true) std::cout << "It was a delegate's, which gets no more lists of shards.\n";
  if (delegate.is_string()) std::cout << "If it was a delegate's, that was not told to it: " << delegate.get<std::string>() << ".\n";
  if (answer->at("silent").empty()) return {};
  std::string silent;
  for (const json& url : answer->at("silent")) silent += (silent.empty() ? "" : ", ") + url.get<std::string>();
  return give_up(Error(Code::unavailable, "not yet by " + silent, "run this again when they answer"));
}

void add_node_member_commands(CLI::App& node, std::function<Outcome<>()>& command) {
  const char* const name_help = "the drive's name (default: default)";
  const char* const passphrase_help = "where the drive is not mounted: read the passphrase from this file, - asks";
  auto add = std::make_shared<NodeAddArguments>();
  auto words = std::make_shared<std::vector<std::string>>();
  auto* const adding = node.add_subcommand("add", "Let a node store for a drive, or say where one that it knows is now");
  adding->add_option("NAME NODE", *words, "the drive's name (default: default) and the node: an invite, atoll://HOST:PORT/ID or dir:/path/to/folder")
      ->required()->expected(1, 2);
  adding->add_option("--label", add->labels, "KEY=VALUE: what fails together, such as country=de; repeated")->take_all()->allow_extra_args(false);
  adding->add_option("--passphrase-file", add->passphrase_file, passphrase_help);
  adding->add_flag("--json", add->json, "errors as JSON");
  adding->callback([=, &command] {
    add->node = words->back();
    if (words->size() == 2) add->name = words->front();
    command = [=] { return run_node_add(*add); };
  });

  auto label = std::make_shared<NodeLabelArguments>();
  auto* const labelling = node.add_subcommand("label", "Say what a node fails together with");
  labelling->add_option("NODE", label->node, "its address, or the beginning of its id")->required();
  labelling->add_option("NAME", label->name, name_help);
  labelling->add_option("--label", label->labels, "KEY=VALUE; repeated")->take_all()->allow_extra_args(false);
  labelling->add_option("--remove", label->removed, "KEY: a label to take away; repeated")->take_all()->allow_extra_args(false);
  labelling->add_option("--passphrase-file", label->passphrase_file, passphrase_help);
  labelling->add_flag("--json", label->json, "errors as JSON");
  labelling->callback([=, &command] { command = [=] { return run_node_label(*label); }; });

  auto devices = std::make_shared<NodeDevicesArguments>();
  auto* const listing = node.add_subcommand("devices", "The computers that nodes have seen speak for a drive");
  listing->add_option("NAME", devices->name, name_help);
  listing->add_option("--passphrase-file", devices->passphrase_file, passphrase_help);
  listing->add_flag("--json", devices->json, "as JSON");
  listing->callback([=, &command] { command = [=] { return run_node_devices(*devices); }; });

  auto revoked = std::make_shared<NodeDevicesArguments>();
  auto revoke_words = std::make_shared<std::vector<std::string>>();
  auto* const revoking = node.add_subcommand("revoke", "Let nodes refuse a computer that was lost");
  revoking->add_option("NAME DEVICE", *revoke_words, "the drive's name (default: default) and the device: its id, or the beginning of it")->required()->expected(1, 2);
  revoking->add_option("--passphrase-file", revoked->passphrase_file, passphrase_help);
  revoking->add_flag("--json", revoked->json, "errors as JSON");
  revoking->callback([=, &command] {
    revoked->revoked = revoke_words->back();
    if (revoke_words->size() == 2) revoked->name = revoke_words->front();
    command = [=] { return run_node_revoke(*revoked); };
  });
}

}  // namespace atl
