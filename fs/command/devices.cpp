#include "fs/command/devices.h"

#include <future>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/daemons.h"

namespace atl {

using nlohmann::json;

namespace {

/// Asks each daemon in a thread of its own, since one that is gone takes its time; with the answers, in order of the nodes.
template <typename T, typename Ask>
std::vector<std::pair<NodeSpec, Result<T>>> ask_all(const std::vector<NodeSpec>& nodes, const Ask& ask) {
  std::vector<std::pair<NodeSpec, std::future<Result<T>>>> asked;
  for (const NodeSpec& node : nodes)
    if (names_daemon(node.url)) asked.emplace_back(node, std::async(std::launch::async, [&ask, &node] { return ask(node); }));
  std::vector<std::pair<NodeSpec, Result<T>>> answers;
  for (auto& [node, answer] : asked) answers.emplace_back(node, answer.get());
  return answers;
}

struct Known {
  std::size_t seen = 0;
  std::size_t revoked = 0;
};

struct Survey {
  std::map<KeyId, Known> devices;
  std::size_t asked = 0;
  json silent = json::array();

  Survey(const std::vector<NodeSpec>& nodes, const NodeCredentials& credentials, Clock& clock) {
    const auto ask = [&](const NodeSpec& node) { return node_devices(node, credentials, clock); };
    for (const auto& [node, answer] : ask_all<NodeDevices>(nodes, ask)) {
      ++asked;
      if (!answer) {
        silent.push_back(node.url);
        continue;
      }
      for (const KeyId& device : answer->seen) ++devices[device].seen;
      for (const KeyId& device : answer->revoked) ++devices[device].revoked;
    }
  }
};

}  // namespace

Result<json> list_devices(const std::vector<NodeSpec>& nodes, const NodeCredentials& credentials, Clock& clock) {
  const Survey survey(nodes, credentials, clock);
  json devices = json::array();
  for (const auto& [id, known] : survey.devices) devices.push_back({{"id", id.hex()}, {"nodes", known.seen}, {"revoked_at", known.revoked}});
  return json{{"own", credentials.device.id().hex()}, {"devices", std::move(devices)}, {"asked", survey.asked}, {"silent", survey.silent}};
}

Result<json> revoke(const std::vector<NodeSpec>& nodes, const NodeCredentials& credentials, Clock& clock, const json& request) {
  const auto given = request.find("device");
  const std::string text = given != request.end() && given->is_string() ? given->get<std::string>() : std::string();
  auto device = KeyId::from_hex(text);
  if (!device) {
    const Survey survey(nodes, credentials, clock);
    std::size_t fit = 0;
    for (const auto& [id, known] : survey.devices) {
      if (text.size() < 4 || !id.hex().starts_with(text)) continue;
      device = id;
      ++fit;
    }
    const std::string hint = "atoll node devices shows them";
    if (fit == 0) return fail(Code::not_found, "no node knows a device " + text, hint);
    if (fit > 1) return fail(Code::invalid, text + " could be any of " + std::to_string(fit) + " devices", hint);
  }
  if (*device == credentials.device.id())
    return fail(Code::not_permitted, "this is the device of this very computer", "revoke it from another one, which `atoll recover` makes an owner");
  const auto ask = [&](const NodeSpec& node) { return revoke_device(node, *device, credentials, clock); };
  std::size_t told = 0;
  json silent = json::array();
  for (const auto& [node, done] : ask_all<void>(nodes, ask)) {
    if (done)
      ++told;
    else
      silent.push_back(node.url);
  }
  if (told == 0) return fail(Code::unavailable, "no node could be told", "atoll status tells how the nodes are; folders know no devices");
  return json{{"id", device->hex()}, {"nodes", told}, {"silent", std::move(silent)}};
}

}  // namespace atl
