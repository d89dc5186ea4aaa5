// What is special about a node that is a folder: its identity, disks that come and go, crashes.
#include "engine/node/dir_store.h"

#include <catch2/catch.hpp>

#include "engine/node/dir_node.h"
#include "tests/support/memory_disk.h"
#include "tests/support/seeded_random.h"

using namespace atl;

namespace {

const std::string folder = "/node";

struct Folder {
  std::shared_ptr<MemoryDisk> disk = std::make_shared<MemoryDisk>();
  SeededRandom random{7};
  NodeId id;
  MonotonicTime now{std::chrono::hours(5)};

  Folder() { id = adopt_folder(*disk, folder, random).value(); }
  DirStore store() { return DirStore(disk, folder, id, random.u64()); }
  Result<> put(DirStore& store, const std::string& name, std::string_view text) {
    ObjectBody body({as_bytes(text)}, nullptr);
    return store.put(name, body);
  }
  std::string identity() { return "atoll-node 1\nid " + id.hex() + "\n"; }
  Result<> set_identity(const std::string& text) { return replace_file(*disk, folder + "/atoll-node", as_bytes(text)); }
};

}  // namespace

TEST_CASE("A node's folder looks as FORMAT.md says") {
  Folder node;
  auto store = node.store();
  REQUIRE(node.put(store, "0123abcd-00ff", "one"));
  REQUIRE(node.put(store, "NAME", "two"));
  CHECK(as_text(node.disk->content(folder + "/atoll-node")) == node.identity());
  CHECK(node.disk->list(folder) == std::vector<std::string>{"atoll-node", "incoming", "objects"});
  CHECK(node.disk->list(folder + "/objects/ff") == std::vector<std::string>{"0123abcd-00ff"});
  CHECK(node.disk->list(folder + "/objects")->size() == 2);
  CHECK(node.disk->list(folder + "/incoming")->empty());
}

TEST_CASE("A folder without its identity is an absent node, and is never written to") {
  Folder node;
  auto store = node.store();
  REQUIRE(node.put(store, "kept", "content"));
  const std::string other = NodeId().hex();
  for (const std::string& identity :
       {std::string(), std::string("atoll-node 1\nid " + other + "\n"), std::string("nonsense"),
        std::string("atoll-node 9\nid " + node.id.hex() + "\n")}) {
    if (identity.empty()) {
      REQUIRE(node.disk->remove(folder + "/atoll-node"));
    } else {
      REQUIRE(node.set_identity(identity));
    }
    node.now += DirStore::identity_trusted_for;
    const auto before = node.disk->snapshot();
    const auto changes = node.disk->changes();
    CHECK(node.put(store, "new", "content").error().code == Code::unavailable);
    CHECK(node.put(store, "kept", "content").error().code == Code::unavailable);
    CHECK(store.remove({"kept"}).error().code == Code::unavailable);
    CHECK(store.get("kept", 0, 10, node.now).error().code == Code::unavailable);
    CHECK(store.stat("kept", node.now).error().code == Code::unavailable);
    CHECK(store.list("", "", 10, node.now).error().code == Code::unavailable);
    CHECK(store.usage().error().code == Code::unavailable);
    CHECK(node.disk->snapshot() == before);
    CHECK(node.disk->changes() == changes);
    REQUIRE(node.set_identity(node.identity()));
    CHECK(store.get("kept", 0, 10, node.now) == Bytes{'c', 'o', 'n', 't', 'e', 'n', 't'});
    CHECK(store.usage());
  }
}

TEST_CASE("An unmounted disk leaves an empty folder, which is not taken for a node that lost its objects") {
  Folder node;
  auto store = node.store();
  REQUIRE(node.put(store, "kept", "content"));
  REQUIRE(store.get("kept", 0, 10, node.now));  // the identity is trusted for a second from here
  REQUIRE(node.disk->rename(folder, "/unmounted"));
  REQUIRE(node.disk->make_directory(folder));
  CHECK(store.get("kept", 0, 10, node.now).error().code == Code::unavailable);
  CHECK(store.stat("kept", node.now).error().code == Code::unavailable);
  CHECK(store.list("", "", 10, node.now).error().code == Code::unavailable);
  CHECK(store.remove({"kept"}).error().code == Code::unavailable);
  CHECK(node.put(store, "new", "content").error().code == Code::unavailable);
  CHECK(node.disk->list(folder)->empty());
  REQUIRE(node.disk->remove(folder));
  CHECK(store.usage().error().code == Code::unavailable);
  REQUIRE(node.disk->rename("/unmounted", folder));
  CHECK(store.get("kept", 0, 10, node.now));
  CHECK(node.put(store, "new", "content"));
}

TEST_CASE("After a crash at any step of a put the object is whole or not there, and there if it was acknowledged") {
  const std::string text(1500, 'x');
  for (std::uint64_t step = 1;; ++step) {
    bool acknowledged = false;
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
      Folder node;
      auto store = node.store();
      REQUIRE(node.put(store, "before-00", "kept"));
      node.disk->power_off_at(step);
      acknowledged = node.put(store, "object-a7", text).has_value();
      Folder after;
      after.disk = node.disk->crash(seed);
      after.id = node.id;
      auto reopened = after.store();
      INFO("power off at step " << step << ", seed " << seed);
      CHECK(reopened.get("before-00", 0, 10, after.now) == Bytes{'k', 'e', 'p', 't'});
      const auto found = reopened.get("object-a7", 0, 10000, after.now);
      if (found) {
        CHECK(*found == Bytes(text.begin(), text.end()));
      } else {
        CHECK(found.error().code == Code::not_found);
        CHECK_FALSE(acknowledged);
      }
      REQUIRE(after.put(reopened, "object-a7", text));
      CHECK(after.disk->list(folder + "/incoming")->empty());
    }
    if (acknowledged) break;
    REQUIRE(step < 100);
  }
}

TEST_CASE("A put that fails at any call leaves nothing behind and can be tried again") {
  const std::string text(1500, 'x');
  for (const Code code : {Code::io, Code::no_space}) {
    for (std::uint64_t call = 1;; ++call) {
      Folder node;
      auto store = node.store();
      REQUIRE(node.put(store, "before-00", "kept"));
      node.disk->fail_call(call, {code, true});
      const auto result = node.put(store, "object-a7", text);
      const bool fault_used = !result;
      node.disk->clear_faults();
      INFO("call " << call << " fails");
      REQUIRE(node.put(store, "object-a7", text));
      CHECK(store.get("object-a7", 0, 10000, node.now) == Bytes(text.begin(), text.end()));
      if (!fault_used && call > 12) break;
      REQUIRE(call < 100);
    }
  }
}

TEST_CASE("Any call to a node's disk may fail once: nothing is half, what was acknowledged stays, and what it holds is counted") {
  const std::string text(1500, 'x');
  for (const MemoryDisk::Fault fault : {MemoryDisk::Fault{Code::io}, {Code::no_space}, {Code::io, true}, {Code::no_space, true}, {Code::io, false, true}}) {
    bool fired = true;
    for (std::uint64_t call = 1; fired; ++call) {
      REQUIRE(call < 200);
      Folder node;
      auto store = node.store();
      store.count_used();
      REQUIRE(node.put(store, "before-00", "kept"));
      REQUIRE(node.put(store, "gone-a7", "going"));
      fired = false;
      const std::uint64_t from = node.disk->calls();
      node.disk->set_fault_rule([&](const MemoryDisk::Call& now) -> std::optional<MemoryDisk::Fault> {
        if (now.number != from + call) return std::nullopt;
        fired = true;
        return fault;
      });
      const bool stored = node.put(store, "object-a7", text).has_value();
      const auto found = store.get("object-a7", 0, 10000, node.now);
      const bool removed = store.remove({"gone-a7"}).has_value();
      const bool again = node.put(store, "object-a7", text).has_value();
      (void)store.list("", "", 10, node.now);
      (void)store.usage();
      node.disk->clear_faults();
      INFO("call " << call << " fails, code " << static_cast<int>(fault.code) << (fault.partly ? ", half done" : "") << (fault.wholly ? ", though done" : ""));
      if (stored && found) CHECK(*found == Bytes(text.begin(), text.end()));
      Folder after;
      after.disk = node.disk->crash(MemoryDisk::Unflushed::drop);
      after.id = node.id;
      auto reopened = after.store();
      CHECK(reopened.get("before-00", 0, 10, after.now) == Bytes{'k', 'e', 'p', 't'});
      const auto kept = reopened.get("object-a7", 0, 10000, after.now);
      if (kept) CHECK(*kept == Bytes(text.begin(), text.end()));
      if (stored || again) CHECK(kept);
      if (removed) CHECK(reopened.stat("gone-a7", after.now).error().code == Code::not_found);
      // The running one goes on, and knows how much it holds.
      REQUIRE(node.put(store, "object-a7", text));
      REQUIRE(store.remove({"gone-a7"}));
      CHECK(store.get("object-a7", 0, 10000, node.now) == Bytes(text.begin(), text.end()));
      CHECK(store.usage()->used_bytes == 4 + text.size());
      CHECK(node.store().usage());
      CHECK(node.disk->list(folder + "/incoming")->empty());
    }
  }
}

TEST_CASE("Another process that opens the node meanwhile does not make a put fail") {
  Folder node;
  auto first = node.store();
  REQUIRE(node.put(first, "before-00", "kept"));
  bool swept = false;
  node.disk->set_fault_rule([&](const MemoryDisk::Call& call) -> std::optional<MemoryDisk::Fault> {
    if (call.operation == MemoryDisk::op_sync && !swept) {
      swept = true;
      auto second = node.store();
      CHECK(second.usage());  // sweeps what it takes for leftovers
      CHECK(node.disk->list(folder + "/incoming")->empty());
    }
    return std::nullopt;
  });
  CHECK(node.put(first, "object-a7", "content"));
  CHECK(swept);
  CHECK(first.get("object-a7", 0, 100, node.now) == Bytes{'c', 'o', 'n', 't', 'e', 'n', 't'});
}

TEST_CASE("A full disk is a full node, and its last bytes are left alone") {
  auto disk = std::make_shared<MemoryDisk>(1 << 20);
  SeededRandom random(3);
  const NodeId id = adopt_folder(*disk, folder, random).value();
  DirStore store(disk, folder, id, 1);
  store.count_used();
  const Bytes block(100 << 10, 1);
  ObjectBody body({ByteView(block)}, nullptr);
  int stored = 0;
  Result<> last;
  while ((last = store.put("object-" + std::to_string(stored), body))) ++stored;
  CHECK(last.error().code == Code::no_space);
  CHECK(stored >= 8);
  CHECK(disk->usage(folder)->free_bytes >= (1 << 20) / 64);
  CHECK(disk->list(folder + "/incoming")->empty());
  CHECK(store.usage()->used_bytes == static_cast<std::uint64_t>(stored) * block.size());
}

TEST_CASE("What the folder held before is counted") {
  Folder node;
  auto first = node.store();
  REQUIRE(node.put(first, "a", "12345"));
  REQUIRE(node.put(first, "b", "123"));
  auto second = node.store();
  CHECK(second.usage()->used_bytes == 0);
  second.count_used();
  CHECK(second.usage()->used_bytes == 8);
  REQUIRE(node.put(second, "c", "12"));
  second.count_used();
  CHECK(second.usage()->used_bytes == 10);
  REQUIRE(second.remove({"a", "c", "none"}));
  CHECK(second.usage()->used_bytes == 3);
}

TEST_CASE("An adoption that was cut short is finished by the next one") {
  for (std::uint64_t step = 1; step < 30; ++step) {
    MemoryDisk disk;
    SeededRandom random(step);
    disk.power_off_at(step);
    (void)adopt_folder(disk, "/a/b/node", random);
    const auto after = disk.crash(step);
    const auto id = adopt_folder(*after, "/a/b/node", random);
    INFO("power off at step " << step);
    REQUIRE(id);
    CHECK(adopt_folder(*after, "/a/b/node", random) == *id);
  }
}
