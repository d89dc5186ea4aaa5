// How a node daemon becomes a node of a drive, over real sockets.
#include <catch2/catch.hpp>
#include <future>

#include "engine/daemons.h"
#include "tests/support/eventually.h"
#include "tests/support/node_host.h"

using namespace atl;

namespace {

std::string invite_line(NodeHost& host) {
  const std::int64_t later = host.clock.wall_now().seconds + 3600;
  return make_invite(host.disk, NodeHost::folder, host.random, 1 << 20, later, "a friend").value().text();
}

NodeCredentials somebody(Random& random) { return {KeyPair::generate(random), KeyPair::generate(random)}; }

}  // namespace

TEST_CASE("An invite makes a daemon a node of one drive, which then needs no invite to find it again", "[daemon]") {
  NodeHost host;
  const std::string line = invite_line(host);
  CHECK(names_daemon(line));
  CHECK(!names_daemon("dir:/somewhere"));
  const NodeCredentials drive = somebody(host.random);
  const auto node = adopt_daemon(line, drive, host.clock);
  REQUIRE(node);
  CHECK(node->id == host.server->id());
  CHECK(node->url == "atoll://" + host.server->address().text());
  CHECK(node->labels == Labels{{"country", "de"}});
  CHECK(adopt_daemon(line, drive, host.clock)->id == node->id);

  const auto other = adopt_daemon(line, somebody(host.random), host.clock);
  REQUIRE(!other);
  CHECK(!other.error().hint.empty());
  CHECK(other.error().what.find(line.substr(line.rfind('/'))) == std::string::npos);  // the secret is not repeated

  // A recovered drive: the same account, a new device.
  const NodeCredentials recovered{drive.account, KeyPair::generate(host.random)};
  CHECK(adopt_daemon(node->url + "/" + node->id.hex(), recovered, host.clock)->id == node->id);
  CHECK(adopt_daemon(node->url + "/" + node->id.hex(), somebody(host.random), host.clock).error().code == Code::unavailable);
  NodeId wrong = node->id;
  wrong.bytes[0] ^= 1;
  CHECK(adopt_daemon(node->url + "/" + wrong.hex(), drive, host.clock).error().what.find("another node") != std::string::npos);
  CHECK(adopt_daemon(node->url, drive, host.clock).error().code == Code::invalid);
}

TEST_CASE("An engine stores on daemons and reads back, and follows one to another address", "[daemon]") {
  NodeHost host;
  const auto credentials = std::make_shared<const NodeCredentials>(host.credentials);
  const NodeSpec node{host.server->id(), "atoll://" + host.server->address().text(), {}};
  auto engine = make_engine({node}, credentials, {}, host.clock, host.random);
  REQUIRE(engine);
  CHECK(make_engine({node}, EngineOptions{}, host.clock, host.random).error().code == Code::key);
  CHECK((*engine)->nodes().front().state == NodeState::ok);
  const auto put = [&](const std::string& name) {
    std::promise<Result<>> stored;
    (*engine)->put(node.id, name, std::make_shared<const Bytes>(Bytes(1000, 7)), [&](Result<> result) { stored.set_value(std::move(result)); });
    return stored.get_future().get();
  };
  CHECK(put("one"));
  CHECK(host.store.account_usage(host.account_id())->objects == 1);
  NodeSpec moved = node;
  moved.url = "atoll://127.0.0.1:1";
  REQUIRE((*engine)->set_nodes({moved}));
  CHECK(!put("two"));
  REQUIRE((*engine)->set_nodes({node}));
  REQUIRE(eventually([&] { return (*engine)->nodes().front().state == NodeState::ok; }));
  CHECK(put("two"));
  CHECK(host.store.account_usage(host.account_id())->objects == 2);
  moved.url = "atoll://nonsense";
  CHECK((*engine)->set_nodes({moved}).error().code == Code::invalid);
  (*engine)->close();
}
