// Invites, addresses and URLs of nodes as somebody pasted them: what is taken is written back as it means.
#include "engine/net/address.h"
#include "tests/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace atl;
  const std::string_view text = as_text(ByteView(data, size));
  if (const auto address = parse_address(text)) {
    const auto again = parse_address(address->text());
    demand(again && *again == *address);
  }
  if (const auto invite = parse_invite(text)) {
    const auto again = parse_invite(invite->text());
    demand(again && again->address == invite->address && again->node == invite->node && again->key == invite->key);
  } else if (size > 150) {
    // What stands in an invite is a secret: no error repeats it.
    demand(invite.error().what.find(text.substr(size - 64)) == std::string::npos);
  }
  if (const auto url = parse_node_url(text)) {
    const auto again = parse_node_url(node_url(url->address));
    demand(again && again->address == url->address);
  }
  return 0;
}
