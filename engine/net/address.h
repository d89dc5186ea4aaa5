// Addresses of nodes, and invites, as people pass them on. Values; any thread. Code::invalid for what cannot be read.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "engine/base/ids.h"
#include "engine/net/key_pair.h"

namespace atl {

/// HOST:PORT; an IPv6 address stands in brackets.
struct NetAddress {
  std::string host;  // without brackets
  std::uint16_t port = 0;
  std::string text() const;
  friend bool operator==(const NetAddress&, const NetAddress&) = default;
};
Result<NetAddress> parse_address(std::string_view text);

/// atoll://HOST:PORT, as a drive remembers a node; or atoll://HOST:PORT/ID, as one is named to it.
struct NodeUrl {
  NetAddress address;
  std::optional<NodeId> id;
};
bool is_node_url(std::string_view url);
Result<NodeUrl> parse_node_url(std::string_view url);
/// Without the id, which a drive keeps beside.
std::string node_url(const NetAddress& address);

/// atoll-invite://HOST:PORT/ID/KEY: who has the line may open one account at that node.
struct Invite {
  NetAddress address;
  NodeId node;
  KeySeed key;  // wiped by whoever holds the invite
  std::string text() const;
};
bool is_invite(std::string_view text);
Result<Invite> parse_invite(std::string_view text);

}  // namespace atl
