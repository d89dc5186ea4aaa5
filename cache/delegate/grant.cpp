#include "cache/delegate/grant.h"

#include <sodium.h>

#include <nlohmann/json.hpp>

namespace atl {

using nlohmann::json;

namespace {

constexpr int format = 1;

tl::unexpected<Error> no_grant() { return fail(Code::corrupt, "this is no file for a delegate, or it is damaged", "atoll delegate export writes one"); }

Result<SecretKey> key_of(const json& text) {
  auto bytes = from_hex(text.get<std::string>());
  if (!bytes || bytes->size() != SecretKey::size) return no_grant();
  SecretKey key = SecretKey::from(*bytes);
  sodium_memzero(bytes->data(), bytes->size());
  return key;
}

}  // namespace

std::string encode_delegate_grant(const DelegateGrant& grant) {
  json nodes = json::array();
  for (const DelegatedNode& node : grant.nodes)
    nodes.push_back({{"id", node.spec.id.hex()}, {"url", node.spec.url}, {"labels", node.spec.labels}, {"certificate", node.certificate}});
  const json file{{"atoll_delegate", format},
                  {"drive", grant.drive},
                  {"volume", grant.volume.hex()},
                  {"id", grant.keys.id().hex()},
                  {"key", to_hex(grant.keys.key().view())},
                  {"names", to_hex(grant.keys.names().view())},
                  {"nodes", std::move(nodes)}};
  return file.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

Result<DelegateGrant> decode_delegate_grant(std::string_view text) {
  const json file = json::parse(text, nullptr, false);
  if (!file.is_object()) return no_grant();
  try {
    const auto number = file.at("atoll_delegate").get<int>();
    if (number > format) return fail(Code::newer_format, "this file for a delegate has format " + std::to_string(number), "use the version of atoll that wrote it");
    const auto volume = VolumeId::from_hex(file.at("volume").get<std::string>());
    const auto id = DelegateId::from_hex(file.at("id").get<std::string>());
    auto key = key_of(file.at("key"));
    auto names = key_of(file.at("names"));
    if (!volume || !id || !key || !names) return no_grant();
    DelegateGrant grant{file.at("drive").get<std::string>(), *volume, DelegateKeys(*id, std::move(*key), std::move(*names)), {}};
    for (const json& each : file.at("nodes")) {
      const auto node_id = NodeId::from_hex(each.at("id").get<std::string>());
      if (!node_id) return no_grant();
      DelegatedNode node;
      node.spec.id = *node_id;
      node.spec.url = each.at("url").get<std::string>();
      node.spec.labels = each.at("labels").get<Labels>();
      node.certificate = each.at("certificate").get<std::string>();
      grant.nodes.push_back(std::move(node));
    }
    return grant;
  } catch (const json::exception&) {
    return no_grant();
  }
}

}  // namespace atl
