#include "fs/command/node_changes.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cache/care/delegate_keeper.h"
#include "cache/drive/node_list.h"
#include "engine/daemons.h"
#include "fs/command/devices.h"

namespace atl {

using nlohmann::json;

namespace {

json answer_of(const NodeSpec& node, bool known) {
  return {{"id", node.id.hex()}, {"url", node.url}, {"labels", node.labels}, {"known", known}};
}

Result<json> add(Drive& drive, const NodeCredentials& credentials, Clock& clock, Random& random, const json& request) {
  const auto text = request.at("node").get<std::string>();
  auto node = names_daemon(text) ? adopt_daemon(text, credentials, clock) : adopt_node(text, random);
  if (!node) return fail(node.error());
  const std::vector<NodeSpec> nodes = drive.nodes();
  const auto known = std::find_if(nodes.begin(), nodes.end(), [&](const NodeSpec& other) { return other.id == node->id; });
  // What a person said of a node stands; what it says of itself is asked when it is new.
  if (known != nodes.end()) node->labels = known->labels;
  for (const auto& [key, value] : request.at("labels").get<Labels>()) node->labels[key] = value;
  if (auto put = put_node(drive, *node); !put) return fail(put.error());
  json answer = answer_of(*node, known != nodes.end());
  const std::vector<NodeSpec> now = drive.nodes();
  const Redundancy redundancy = drive.status().redundancy;
  answer["nodes"] = std::count_if(now.begin(), now.end(), [](const NodeSpec& other) { return !other.draining; });
  answer["k"] = redundancy.k;
  answer["n"] = redundancy.n;
  return answer;
}

Result<json> label(Drive& drive, const json& request) {
  auto node = find_node(drive, request.at("node").get<std::string>());
  if (!node) return fail(node.error());
  for (const auto& key : request.at("remove").get<std::vector<std::string>>()) node->labels.erase(key);
  for (const auto& [key, value] : request.at("labels").get<Labels>()) node->labels[key] = value;
  if (auto put = put_node(drive, *node); !put) return fail(put.error());
  return answer_of(*node, true);
}

Result<json> set_redundancy(Drive& drive, const json& request) {
  const Redundancy redundancy{request.at("k").get<std::uint8_t>(), request.at("n").get<std::uint8_t>()};
  if (auto set = drive.care().set_redundancy(redundancy, request.at("protect_min").get<std::uint8_t>()); !set) return fail(set.error());
  return json::object();
}

/// Nodes refuse its key already; it is told why, and gets no more lists of shards. Whether it was a delegate, or why that
/// is not known.
json forget_delegate(Drive& drive, const json& revoked) {
  DelegateKeeper* const keeper = delegate_keeper(drive.care());
  const auto device = KeyId::from_hex(revoked.at("id").get<std::string>());
  if (keeper == nullptr || !device) return false;
  auto forgotten = keeper->forget_delegate(*device, {});
  return forgotten ? json(*forgotten) : json(forgotten.error().what);
}

}  // namespace

Result<NodeSpec> find_node(const Drive& drive, const std::string& text) {
  std::vector<NodeSpec> found;
  for (const NodeSpec& spec : drive.nodes())
    if (spec.url == text || spec.url == "dir:" + text || spec.url == "atoll://" + text || (text.size() >= 4 && spec.id.hex().starts_with(text)))
      found.push_back(spec);
  if (found.size() == 1) return found.front();
  const std::string hint = "atoll node list shows the nodes";
  if (found.empty()) return fail(Code::not_found, "no node of this drive is " + text, hint);
  return fail(Code::invalid, text + " could be any of " + std::to_string(found.size()) + " nodes", hint);
}

Result<json> change_nodes(Drive& drive, const NodeCredentials& credentials, Clock& clock, Random& random, const json& request) {
  try {
    if (request.at("do") == "redundancy_set") return set_redundancy(drive, request);
    if (request.at("do") == "devices") return list_devices(drive.nodes(), credentials, clock);
    if (request.at("do") == "revoke") {
      auto answer = revoke(drive.nodes(), credentials, clock, request);
      if (answer) (*answer)["delegate"] = forget_delegate(drive, *answer);
      return answer;
    }
    return request.at("do") == "node_add" ? add(drive, credentials, clock, random, request) : label(drive, request);
  } catch (const json::exception&) {
    return fail(Code::invalid, "this request for a change is incomplete");
  }
}

}  // namespace atl
