// What every kind of node has to do, run over each of them.
#include <boost/asio/co_spawn.hpp>
#include <future>
#include <thread>

#include <catch2/catch.hpp>

#include "engine/base/posix_disk.h"
#include "engine/loop/asio_loop.h"
#include "engine/node/daemon_node.h"
#include "engine/node/dir_node.h"
#include "tests/sim/simulated_node.h"
#include "tests/support/memory_node.h"
#include "tests/support/node_host.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/virtual_loop.h"

using namespace atl;

namespace {

struct MemoryKind {
  std::shared_ptr<Node> make(Loop& loop) { return std::make_shared<MemoryNode>(loop); }
};

struct DirKind {
  TemporaryFolder folder;
  std::shared_ptr<Node> make(Loop& loop) {
    auto disk = std::make_shared<PosixDisk>();
    SystemRandom random;
    const NodeId id = adopt_folder(*disk, folder / "node", random).value();
    return std::make_shared<DirNode>(loop, std::make_shared<DirStore>(disk, folder / "node", id, 1), 4);
  }
};

struct SimulatedKind {
  SeededRandom random{1};
  sim::SimulatedNode machine{random, std::uint64_t{1} << 30};
  std::shared_ptr<Node> make(Loop& loop) { return std::make_shared<sim::SimulatedLink>(loop, random, machine, sim::Distance{}); }
};

/// A store without put-if-absent, whose listing lags. What it does not promise has tests of its own below.
struct WeakKind : SimulatedKind {
  WeakKind() { machine.faults.weak = true; }
};

struct DaemonKind {
  NodeHost host;
  std::shared_ptr<Node> make(Loop& loop) {
    return std::make_shared<DaemonNode>(loop, host.server->address(), host.server->id(), host.credentials);
  }
};

/// A node of one kind on a loop, called as if its calls blocked.
template <typename Kind>
class Subject {
 public:
  Subject() : loop_(clock_), node_(kind_.make(loop_)) {}
  ~Subject() {
    loop_.stop();
    CHECK(node_->close(std::chrono::seconds(60)));
    loop_.drain();
  }

  template <typename T>
  std::future<Result<T>> begin(asio::awaitable<Result<T>> call) {
    auto answer = std::make_shared<std::promise<Result<T>>>();
    asio::co_spawn(loop_.executor(), std::move(call), [answer](std::exception_ptr thrown, Result<T> result) {
      if (thrown) {
        answer->set_exception(thrown);
      } else {
        answer->set_value(std::move(result));
      }
    });
    return answer->get_future();
  }

  static ObjectBody body(std::string_view text) {
    auto owner = std::make_shared<std::string>(text);
    const ByteView whole = as_bytes(*owner);
    const std::size_t half = whole.size() / 2;
    return ObjectBody({whole.first(half), {}, whole.subspan(half)}, owner);
  }

  Result<> put(std::string name, std::string_view text) { return begin(node_->put(name, body(text))).get(); }
  Result<std::string> get(std::string name, std::uint64_t offset = 0, std::uint64_t length = 1 << 20) {
    auto answer = begin(node_->get(name, offset, length)).get();
    if (!answer) return fail(answer.error());
    return std::string(as_text(*answer));
  }
  Result<std::uint64_t> size(std::string name) {
    auto answer = begin(node_->stat(name)).get();
    if (!answer) return fail(answer.error());
    return answer->size;
  }
  Result<std::vector<std::string>> list(std::string prefix, std::string after = {}, std::size_t limit = 1000) {
    return begin(node_->list(prefix, after, limit)).get();
  }
  Result<std::size_t> remove(std::vector<std::string> names) { return begin(node_->remove(std::move(names))).get(); }
  Result<NodeUsage> usage() { return begin(node_->usage()).get(); }
  Node& node() { return *node_; }

 private:
  SystemClock clock_;
  Kind kind_;
  AsioLoop loop_;
  std::shared_ptr<Node> node_;
};

}  // namespace

TEMPLATE_TEST_CASE("A node gives back what was stored, whole and in ranges", "", MemoryKind, DirKind, SimulatedKind, WeakKind, DaemonKind) {
  Subject<TestType> node;
  REQUIRE(node.put("object-a1", "0123456789"));
  REQUIRE(node.put("empty", ""));
  CHECK(node.get("object-a1") == "0123456789");
  CHECK(node.get("object-a1", 3, 4) == "3456");
  CHECK(node.get("object-a1", 8, 100) == "89");
  CHECK(node.get("object-a1", 10, 1) == "");
  CHECK(node.get("object-a1", ~std::uint64_t{0}, 1) == "");
  CHECK(node.get("object-a1", 0, ~std::uint64_t{0}) == "0123456789");
  CHECK(node.get("empty") == "");
  CHECK(node.size("object-a1") == 10u);
  CHECK(node.size("empty") == 0u);
}

TEMPLATE_TEST_CASE("A name on a node never changes its content", "", MemoryKind, DirKind, SimulatedKind, DaemonKind) {
  Subject<TestType> node;
  REQUIRE(node.put("name", "content"));
  CHECK(node.put("name", "content"));
  CHECK(node.put("name", "contenT").error().code == Code::conflict);
  CHECK(node.put("name", "conten").error().code == Code::conflict);
  CHECK(node.put("name", "content and more").error().code == Code::conflict);
  CHECK(node.get("name") == "content");
  CHECK(node.remove({"name"}) == 1u);
  CHECK(node.put("name", "other"));
  CHECK(node.get("name") == "other");
}

TEST_CASE("A weak store takes other content under a name, and never a mixture of the two") {
  Subject<WeakKind> node;
  REQUIRE(node.put("name", "content"));
  CHECK(node.put("name", "content"));
  REQUIRE(node.put("name", "other, and longer"));
  CHECK(node.get("name") == "other, and longer");
  CHECK(node.size("name") == 17u);
  CHECK(node.usage()->used_bytes == 17);
  REQUIRE(node.put("name", "short"));
  CHECK(node.get("name") == "short");
  CHECK(node.usage()->used_bytes == 5);
  CHECK(node.remove({"name"}) == 1u);
  CHECK(node.get("name").error().code == Code::not_found);
  CHECK(node.usage()->used_bytes == 0);
}

TEST_CASE("A weak store lists an object some time after it can be read, and then in byte order, page by page") {
  VirtualLoop loop;
  WeakKind kind;
  const auto node = kind.make(loop);
  const auto list = [&](std::string after, std::size_t limit) {
    std::vector<std::string> names{"not answered"};
    bool done = false;
    asio::co_spawn(loop.executor(), node->list("n", std::move(after), limit), [&](std::exception_ptr, Result<std::vector<std::string>> answer) {
      if (answer) names = std::move(*answer);
      done = true;
    });
    REQUIRE(loop.run_until([&] { return done; }));
    return names;
  };
  const auto put = [&](std::string name) {
    Result<> stored = fail(Code::io, "not answered");
    bool done = false;
    asio::co_spawn(loop.executor(), node->put(std::move(name), Subject<WeakKind>::body("x")), [&](std::exception_ptr, Result<> answer) {
      stored = std::move(answer);
      done = true;
    });
    REQUIRE(loop.run_until([&] { return done; }));
    REQUIRE(stored);
    Result<Bytes> read = fail(Code::io, "not answered");
    asio::co_spawn(loop.executor(), node->get("n2", 0, 1), [&](std::exception_ptr, Result<Bytes> answer) { read = std::move(answer); });
    loop.run_ready();
    CHECK(read);
  };
  put("n2");
  loop.run_for(std::chrono::seconds(10));
  put("n1");
  put("n3");
  CHECK(list("", 10) == std::vector<std::string>{"n2"});
  loop.run_for(std::chrono::seconds(10));
  CHECK(list("", 10) == std::vector<std::string>{"n1", "n2", "n3"});
  CHECK(list("", 2) == std::vector<std::string>{"n1", "n2"});
  CHECK(list("n2", 2) == std::vector<std::string>{"n3"});
}

TEMPLATE_TEST_CASE("Of writers that race for a name on a node one wins, and all know it", "", MemoryKind, DirKind, SimulatedKind, DaemonKind) {
  Subject<TestType> node;
  for (int round = 0; round < 20; ++round) {
    const std::string name = "raced-" + std::to_string(round);
    std::vector<std::future<Result<>>> answers;
    for (int writer = 0; writer < 8; ++writer) {
      const auto body = Subject<TestType>::body("writer " + std::to_string(writer / 2));
      answers.push_back(node.begin(node.node().put(name, body)));
    }
    std::vector<int> won;
    for (int writer = 0; writer < 8; ++writer) {
      const auto result = answers[static_cast<std::size_t>(writer)].get();
      if (result) {
        won.push_back(writer / 2);
      } else {
        CHECK(result.error().code == Code::conflict);
      }
    }
    REQUIRE(won.size() == 2);
    CHECK(won[0] == won[1]);
    CHECK(node.get(name) == "writer " + std::to_string(won[0]));
  }
}

TEMPLATE_TEST_CASE("A node says plainly that it does not hold an object", "", MemoryKind, DirKind, SimulatedKind, WeakKind, DaemonKind) {
  Subject<TestType> node;
  CHECK(node.get("none").error().code == Code::not_found);
  CHECK(node.size("none").error().code == Code::not_found);
  CHECK(node.remove({"none", "nor-this"}) == 2u);
  CHECK(node.remove({}) == 0u);
  CHECK(node.list("") == std::vector<std::string>{});
}

TEMPLATE_TEST_CASE("Names on a node list by prefix, page by page, in byte order", "", MemoryKind, DirKind, SimulatedKind, DaemonKind) {
  Subject<TestType> node;
  std::vector<std::string> all;
  for (int i = 0; i < 60; ++i) {
    std::string name = (i % 3 == 0 ? "Z" : i % 3 == 1 ? "a-" : "a_") + std::to_string(i * 7919 % 1000);
    REQUIRE(node.put(name, "x"));
    all.push_back(std::move(name));
  }
  std::sort(all.begin(), all.end());
  CHECK(node.list("") == all);
  CHECK(node.list("", "", 0) == std::vector<std::string>{});
  for (const std::string prefix : {"Z", "a", "a-", "b", "a_1"}) {
    std::vector<std::string> expected;
    for (const std::string& name : all) {
      if (name.starts_with(prefix)) expected.push_back(name);
    }
    std::vector<std::string> paged;
    for (std::string after;;) {
      const auto page = node.list(prefix, after, 7);
      REQUIRE(page);
      if (page->empty()) break;
      CHECK(page->size() <= 7);
      paged.insert(paged.end(), page->begin(), page->end());
      after = paged.back();
    }
    CHECK(paged == expected);
  }
}

TEMPLATE_TEST_CASE("Names that could leave a node's folder are refused", "", MemoryKind, DirKind, SimulatedKind, WeakKind, DaemonKind) {
  Subject<TestType> node;
  for (const std::string& name : {std::string(), std::string("."), std::string(".."), std::string(".hidden"),
                                  std::string("a/b"), std::string("../x"), std::string("a\0b", 3), std::string("ä"),
                                  std::string("a b"), std::string(129, 'a')}) {
    CHECK(node.put(name, "x").error().code == Code::invalid);
    CHECK(node.get(name).error().code == Code::invalid);
    CHECK(node.size(name).error().code == Code::invalid);
  }
  CHECK(node.put(std::string(128, 'a'), "x"));
  CHECK(node.put("A-Z_0.9", "x"));
}

TEMPLATE_TEST_CASE("A node knows how much it holds and how much more it can take", "", MemoryKind, DirKind, SimulatedKind, WeakKind, DaemonKind) {
  Subject<TestType> node;
  const auto before = node.usage();
  REQUIRE(before);
  CHECK(before->free_bytes <= before->capacity_bytes);
  CHECK(before->capacity_bytes > 0);
  REQUIRE(node.put("a", std::string(1000, 'x')));
  REQUIRE(node.put("b", std::string(500, 'x')));
  REQUIRE(node.put("b", std::string(500, 'x')));
  REQUIRE(node.remove({"a"}));
  while (node.usage()->used_bytes != 500) std::this_thread::yield();  // a folder is counted beside
}

TEMPLATE_TEST_CASE("Large objects in many pieces come back byte for byte", "", MemoryKind, DirKind, SimulatedKind, WeakKind, DaemonKind) {
  Subject<TestType> node;
  auto whole = std::make_shared<std::string>();
  for (int i = 0; i < 3 << 20; ++i) whole->push_back(static_cast<char>(i * 131 + (i >> 9)));
  std::vector<ByteView> pieces;
  for (std::size_t at = 0; at < whole->size(); at += 16400)
    pieces.push_back(as_bytes(*whole).subspan(at, std::min<std::size_t>(16400, whole->size() - at)));
  ObjectBody body(pieces, whole);
  REQUIRE(node.begin(node.node().put("large", body)).get());
  CHECK(node.get("large", 0, 4 << 20) == *whole);
  CHECK(node.get("large", 1234567, 65536) == whole->substr(1234567, 65536));
}
