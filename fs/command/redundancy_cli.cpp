#include "fs/command/redundancy_cli.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "fs/command/node_members.h"
#include "fs/command/redundancy.h"
#include "fs/command/running_drive.h"
#include "fs/command/terminal.h"

namespace atl {

using nlohmann::json;

namespace {

constexpr std::size_t shards_max = 255;

/// Segments of other redundancies, which are still to be encoded anew. Known of a mounted drive only.
json others_of(const json& status) {
  json others = json::array();
  const auto care = status.find("care");
  if (care == status.end()) return others;
  const json& now = status.at("redundancy");
  for (const json& entry : care->at("margins")) {
    if (entry.at("k") == now.at("k") && entry.at("n") == now.at("n")) continue;
    const auto same = std::find_if(others.begin(), others.end(), [&](const json& other) { return other.at("k") == entry.at("k") && other.at("n") == entry.at("n"); });
    if (same == others.end())
      others.push_back({{"k", entry.at("k")}, {"n", entry.at("n")}, {"segments", entry.at("segments")}});
    else
      (*same)["segments"] = same->at("segments").get<std::uint64_t>() + entry.at("segments").get<std::uint64_t>();
  }
  return others;
}

std::string text_of(const json& redundancy) {
  return std::to_string(redundancy.at("k").get<unsigned>()) + "/" + std::to_string(redundancy.at("n").get<unsigned>());
}

}  // namespace

Outcome<> run_redundancy_show(const RedundancyArguments& arguments) {
  auto places = find_drive(arguments.name);
  if (!places) return tl::unexpected<Failure>(places.error());
  auto status = drive_status(*places);
  if (!status) return tl::unexpected<Failure>(status.error());
  std::size_t staying = 0;
  for (const json& node : status->at("nodes")) {
    const auto care = node.find("care");
    staying += care != node.end() && care->at("leaving").get<bool>() ? 0 : 1;
  }
  const json& now = status->at("redundancy");
  const json others = others_of(*status);
  json answer{{"schema", 1}, {"name", arguments.name}, {"redundancy", now}, {"nodes", staying}, {"others", others}, {"suggested", json()}};
  if (staying > 0) {
    const Redundancy suggested = default_redundancy(staying);
    answer["suggested"] = {{"k", suggested.k}, {"r", default_protect_min(suggested)}, {"n", suggested.n}};
  }
  if (arguments.json) {
    std::cout << answer.dump() << "\n";
    return {};
  }
  std::cout << text_of(now) << ": any " << now.at("k") << " of " << now.at("n") << " shards bring data back; protected from " << now.at("r") << " on\n";
  for (const json& other : others)
    std::cout << plural(other.at("segments").get<std::uint64_t>(), "segment") << " still lie as " << text_of(other) << ", and are encoded anew\n";
  if (answer.at("suggested").is_object() && text_of(answer.at("suggested")) != text_of(now))
    std::cout << "For " << plural(staying, "node") << ", " << text_of(answer.at("suggested")) << " is suggested: atoll redundancy set " << text_of(answer.at("suggested")) << "\n";
  return {};
}

Outcome<> run_redundancy_set(const RedundancyArguments& arguments) {
  auto redundancy = parse_redundancy(arguments.wanted, shards_max);
  if (!redundancy) return give_up(redundancy.error(), Exit::usage);
  const unsigned r = arguments.protect_min != 0 ? static_cast<unsigned>(arguments.protect_min) : default_protect_min(*redundancy);
  if (r < redundancy->k || r > redundancy->n)
    return give_up(Error(Code::invalid, "--protect-min " + std::to_string(r) + " is not within " + arguments.wanted, "give a number from K to N"), Exit::usage);
  auto answer = change_drive(arguments.name, arguments.passphrase_file, {{"do", "redundancy_set"}, {"k", redundancy->k}, {"n", redundancy->n}, {"protect_min", r}});
  if (!answer) return tl::unexpected<Failure>(answer.error());
  std::cout << "From now on any " << unsigned{redundancy->k} << " of " << unsigned{redundancy->n} << " shards bring data back; protected from " << r
            << " on. What was saved before is encoded anew while the drive is mounted; `atoll redundancy` tells how far that is.\n";
  return {};
}

void add_redundancy_commands(CLI::App& app, std::function<Outcome<>()>& command) {
  auto arguments = std::make_shared<RedundancyArguments>();
  auto words = std::make_shared<std::vector<std::string>>();
  auto* const redundancy = app.add_subcommand("redundancy", "How many shards bring data back, of how many; and change it");
  redundancy->add_option("NAME", arguments->name, "the drive's name (default: default)");
  redundancy->add_flag("--json", arguments->json, "as JSON");
  auto* const set = redundancy->add_subcommand("set", "Another one: what was saved before is encoded anew in the background");
  set->add_option("NAME K/N", *words, "the drive's name (default: default), and K/N: any K of N shards bring the data back")->required()->expected(1, 2);
  set->add_option("--protect-min", arguments->protect_min, "from so many durable shards on data counts as protected, K to N")->check(CLI::Range(1, 255));
  set->add_option("--passphrase-file", arguments->passphrase_file, "where the drive is not mounted: read the passphrase from this file, - asks");
  set->add_flag("--json", arguments->json, "errors as JSON");
  redundancy->callback([=, &command] {
    if (set->parsed()) {
      arguments->wanted = words->back();
      if (words->size() == 2) arguments->name = words->front();
      command = [=] { return run_redundancy_set(*arguments); };
    } else {
      command = [=] { return run_redundancy_show(*arguments); };
    }
  });
}

}  // namespace atl
