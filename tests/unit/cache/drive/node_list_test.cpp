// The nodes of a drive change while it lives.
#include "cache/drive/node_list.h"

#include <stdexcept>

#include "tests/support/drive_fixture.h"

using namespace atl;

namespace {

NodeSpec newcomer(std::uint8_t number, const std::string& url, Labels labels = {}) {
  NodeSpec node;
  node.id.bytes[0] = number;
  node.id.bytes[31] = 0xee;
  node.url = url;
  node.labels = std::move(labels);
  return node;
}

const NodeSpec* find(const std::vector<NodeSpec>& nodes, const NodeId& id) {
  for (const NodeSpec& node : nodes)
    if (node.id == id) return &node;
  return nullptr;
}

const FakeEngine::FakeNode& held_by(DriveFixture& f, const NodeId& id) {
  for (const FakeEngine::FakeNode& node : f.engine.all())
    if (node.spec.id == id) return node;
  FAIL("the engine does not know the node");
  throw std::logic_error("unreachable");
}

}  // namespace

TEST_CASE("A node joins a running drive, gets shards, and is remembered under its last address and labels") {
  DriveFixture f({3, 6});
  const std::size_t before = f.drive->nodes().size();
  NodeSpec node = newcomer(1, "memory:seventh", {{"country", "fr"}});
  REQUIRE(put_node(*f.drive, node));
  f.runtime.run_until_idle();
  REQUIRE(f.engine.all().size() == before + 1);
  for (int i = 0; i < 6; ++i) {
    const Attributes file = f.make_file(root_inode, "file" + std::to_string(i));
    f.write(file.inode, 0, f.random.bytes(3u << 20));
    f.sync_full();
  }
  CHECK(!held_by(f, node.id).objects.empty());

  node.url = "memory:elsewhere";
  node.labels = {{"operator", "anna"}};
  REQUIRE(put_node(*f.drive, node));
  f.runtime.run_until_idle();
  CHECK(f.drive->nodes().size() == before + 1);
  CHECK(f.engine.all().size() == before + 1);
  CHECK(held_by(f, node.id).spec.url == "memory:elsewhere");
  f.crash(7);  // put_node was durable
  f.open();
  const auto nodes = f.drive->nodes();
  const NodeSpec* const known = find(nodes, node.id);
  REQUIRE(known != nullptr);
  CHECK(known->url == "memory:elsewhere");
  CHECK(known->labels == Labels{{"operator", "anna"}});
}

TEST_CASE("A node that is to be emptied stays so when its address changes") {
  DriveFixture f({3, 6}, {}, 1, 1);
  NodeSpec node = f.drive->nodes().front();
  REQUIRE(f.drive->care().drain(node.id, true, false, {}, {}));
  node.url = "memory:elsewhere";
  node.draining = false;
  REQUIRE(put_node(*f.drive, node));
  const auto nodes = f.drive->nodes();
  CHECK(find(nodes, node.id)->draining);
  CHECK(find(nodes, node.id)->url == "memory:elsewhere");
}
