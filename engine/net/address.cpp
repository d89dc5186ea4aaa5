#include "engine/net/address.h"

#include <charconv>

namespace atl {

namespace {

constexpr std::string_view url_scheme = "atoll://";
constexpr std::string_view invite_scheme = "atoll-invite://";

std::string_view take_until(std::string_view& rest, char end) {
  const std::string_view part = rest.substr(0, rest.find(end));
  rest.remove_prefix(std::min(rest.size(), part.size() + 1));
  return part;
}

}  // namespace

std::string NetAddress::text() const {
  return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + std::to_string(port);
}

Result<NetAddress> parse_address(std::string_view text) {
  const auto wrong = [&] {
    return fail(Code::invalid, "\"" + std::string(text) + "\" is no address",
                "write it like node.example.org:4711, 192.0.2.7:4711 or [2001:db8::7]:4711");
  };
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return wrong();
  NetAddress address;
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.front() == '[';
  if (bracketed) {
    if (host.back() != ']' || host.size() < 4) return wrong();
    host = host.substr(1, host.size() - 2);
  }
  if (host.size() > 253 || (host.find(':') != std::string_view::npos) != bracketed) return wrong();
  for (const char c : host) {
    const bool allowed = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
                         c == '-' || c == '_' || (bracketed && (c == ':' || c == '%'));
    if (!allowed) return wrong();
  }
  const std::string_view port = text.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (port.empty() || error != std::errc() || end != port.data() + port.size()) return wrong();
  address.host = host;
  return address;
}

bool is_node_url(std::string_view url) { return url.starts_with(url_scheme); }

Result<NodeUrl> parse_node_url(std::string_view url) {
  if (!is_node_url(url)) return fail(Code::invalid, "\"" + std::string(url) + "\" is not the URL of a node daemon");
  std::string_view rest = url.substr(url_scheme.size());
  NodeUrl result;
  auto address = parse_address(take_until(rest, '/'));
  if (!address) return fail(address.error());
  if (address->port == 0) return fail(Code::invalid, "\"" + std::string(url) + "\" names no port");
  result.address = *address;
  if (rest.empty()) return result;
  const auto id = NodeId::from_hex(rest);
  if (!id)
    return fail(Code::invalid, "\"" + std::string(url) + "\" does not end in a node's id",
                "write it like atoll://HOST:PORT/ID, with the 64 digits that the node prints");
  result.id = *id;
  return result;
}

std::string node_url(const NetAddress& address) { return std::string(url_scheme) + address.text(); }

std::string Invite::text() const {
  return std::string(invite_scheme) + address.text() + "/" + node.hex() + "/" + key.hex();
}

bool is_invite(std::string_view text) { return text.starts_with(invite_scheme); }

Result<Invite> parse_invite(std::string_view text) {
  // What stands in an invite is a secret: no error repeats it.
  const auto wrong = [](std::string_view how) {
    return fail(Code::invalid, "the invite " + std::string(how),
                "paste the whole line: atoll-invite://HOST:PORT/ID/KEY");
  };
  if (!is_invite(text)) return wrong("does not begin with " + std::string(invite_scheme));
  std::string_view rest = text.substr(invite_scheme.size());
  const auto address = parse_address(take_until(rest, '/'));
  if (!address || address->port == 0) return wrong("has no readable address");
  const auto node = NodeId::from_hex(take_until(rest, '/'));
  if (!node) return wrong("has no readable node id");
  const auto key = KeySeed::from_hex(rest);
  if (!key) return wrong("has no readable key");
  return Invite{*address, *node, *key};
}

}  // namespace atl
