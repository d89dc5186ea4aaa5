// The engine as the cache gets it: real threads, real folders.
#include "engine/engine.h"

#include <filesystem>
#include <fstream>
#include <future>
#include <set>

#include <catch2/catch.hpp>

#include "tests/support/temporary_folder.h"

using namespace atl;
using namespace std::chrono_literals;

namespace {

/// Waits for the one answer of a call.
template <typename T>
class Answer {
 public:
  std::function<void(Result<T>)> callback() {
    return [state = state_](Result<T> result) { state->set_value(std::move(result)); };
  }
  Result<T> wait() { return state_->get_future().get(); }

 private:
  std::shared_ptr<std::promise<Result<T>>> state_ = std::make_shared<std::promise<Result<T>>>();
};

Bytes body_of(ShardIndex shard, std::size_t size = 1000) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(i * 31 + shard.value * 7);
  return bytes;
}

struct Drive {
  TemporaryFolder folder;
  SystemClock clock;
  SystemRandom random;
  std::vector<NodeSpec> specs;
  EngineOptions options;
  std::unique_ptr<Engine> engine;

  explicit Drive(std::size_t nodes) {
    options.probe_interval = 20ms;
    for (std::size_t i = 0; i < nodes; ++i) {
      auto spec = adopt_node("dir:" + (folder / ("nodes/" + std::to_string(i))), random);
      REQUIRE(spec);
      specs.push_back(*spec);
    }
    start();
  }

  void start() {
    auto made = make_engine(specs, options, clock, random);
    REQUIRE(made);
    engine = std::move(*made);
  }

  std::string path_of(std::size_t node) const { return folder / ("nodes/" + std::to_string(node)); }

  static std::string name_of(ShardIndex shard) { return "shard-" + std::to_string(shard.value); }

  Result<> upload(std::size_t shards, std::vector<ShardHome>& homes) {
    UploadRequest request;
    auto bodies = std::make_shared<std::vector<Bytes>>();
    for (std::size_t i = 0; i < shards; ++i) {
      const ShardIndex shard(static_cast<std::uint8_t>(i));
      request.shards.push_back(shard);
      bodies->push_back(body_of(shard));
    }
    request.body = [bodies](ShardIndex shard) {
      const ByteView whole((*bodies)[shard.value]);
      return ObjectBody({whole.first(100), whole.subspan(100)}, bodies);
    };
    request.object_name = [](ShardIndex shard, NodeId) { return name_of(shard); };
    request.on_stored = [&homes](ShardHome home) { homes.push_back(home); };
    Answer<void> answer;
    request.done = answer.callback();
    engine->upload(std::move(request));
    return answer.wait();
  }

  Result<std::vector<std::pair<ShardIndex, Bytes>>> fetch(std::vector<ShardHome> homes, std::size_t wanted,
                                                          std::size_t need) {
    FetchRequest request;
    for (const ShardHome& home : homes) {
      FetchSource source{home, name_of(home.shard)};
      if (home.shard.value == wanted) {
        request.wanted = source;
      } else {
        request.others.push_back(source);
      }
    }
    request.need = need;
    request.offset = 10;
    request.length = 500;
    request.verify = [](ShardIndex shard, ByteView view) {
      const Bytes expected = body_of(shard);
      return std::equal(view.begin(), view.end(), expected.begin() + 10);
    };
    Answer<std::vector<std::pair<ShardIndex, Bytes>>> answer;
    request.done = answer.callback();
    engine->fetch(std::move(request));
    return answer.wait();
  }

  /// Blocks until the node is seen in a state; a state that never comes hangs the test, which its time limit ends.
  void wait_for(std::size_t node, NodeState state) {
    while (engine->nodes()[node].state != state) std::this_thread::yield();
  }
};

}  // namespace

TEST_CASE("Shards go to a node each, as one file each, and are read back") {
  Drive drive(6);
  std::vector<ShardHome> homes;
  REQUIRE(drive.upload(6, homes));
  REQUIRE(homes.size() == 6);
  std::set<NodeId> used;
  for (const ShardHome& home : homes) used.insert(home.node);
  CHECK(used.size() == 6);
  const auto answer = drive.fetch(homes, 2, 3);
  REQUIRE(answer);
  REQUIRE(answer->size() == 1);
  CHECK(answer->front().first == ShardIndex(2));
  CHECK(drive.engine->counters().node_writes == 6);
  CHECK(drive.engine->counters().node_write_bytes == 6000);
  CHECK(drive.engine->counters().node_reads >= 1);
  CHECK(drive.engine->counters().bad_shards == 0);
  for (const NodeStatus& status : drive.engine->nodes()) {
    CHECK(status.state == NodeState::ok);
    CHECK(status.capacity_bytes > 0);
    CHECK(status.device == drive.engine->nodes()[0].device);
  }
}

TEST_CASE("With half of the nodes gone the others give the data back, and nobody waits for the missing") {
  Drive drive(6);
  std::vector<ShardHome> homes;
  REQUIRE(drive.upload(6, homes));
  for (std::size_t node : {0, 1, 2}) std::filesystem::rename(drive.path_of(node), drive.path_of(node) + ".away");
  for (std::size_t wanted = 0; wanted < 6; ++wanted) {
    const auto answer = drive.fetch(homes, wanted, 3);
    REQUIRE(answer);
    CHECK((answer->size() == 3 || answer->front().first.value == wanted));
  }
  std::filesystem::rename(drive.path_of(3), drive.path_of(3) + ".away");
  for (std::size_t node : {0, 1, 2, 3}) drive.wait_for(node, NodeState::absent);
  std::size_t lost = 0;
  for (std::size_t wanted = 0; wanted < 6; ++wanted) {
    const auto answer = drive.fetch(homes, wanted, 3);
    if (answer) continue;
    ++lost;
    CHECK(answer.error().code == Code::too_few_nodes);
  }
  CHECK(lost == 4);
  for (std::size_t node : {0, 1, 2, 3}) std::filesystem::rename(drive.path_of(node) + ".away", drive.path_of(node));
  for (std::size_t node : {0, 1, 2, 3}) drive.wait_for(node, NodeState::ok);
  for (std::size_t wanted = 0; wanted < 6; ++wanted) CHECK(drive.fetch(homes, wanted, 3)->size() == 1);
}

TEST_CASE("A node that returns is noticed, and who waits for nodes is told") {
  Drive drive(2);
  std::promise<void> absent;
  std::promise<void> back;
  std::atomic<int> calls = 0;
  drive.engine->on_node_change([&] {
    const int call = ++calls;
    if (call == 1) absent.set_value();
    if (call == 2) back.set_value();
  });
  std::filesystem::rename(drive.path_of(1), drive.path_of(1) + ".away");
  absent.get_future().wait();
  CHECK(drive.engine->nodes()[1].state == NodeState::absent);
  CHECK_FALSE(drive.engine->nodes()[1].last_error.empty());
  std::vector<ShardHome> homes;
  const auto result = drive.upload(2, homes);
  REQUIRE_FALSE(result);
  CHECK(result.error().code == Code::unavailable);
  CHECK(homes.size() == 1);
  CHECK_FALSE(std::filesystem::exists(drive.path_of(1)));
  std::filesystem::rename(drive.path_of(1) + ".away", drive.path_of(1));
  back.get_future().wait();
  CHECK(drive.engine->nodes()[1].state == NodeState::ok);
  CHECK(drive.engine->nodes()[1].last_error.empty());
}

TEST_CASE("Objects of one node can be put, asked for, listed and removed by name") {
  Drive drive(1);
  const NodeId node = drive.specs[0].id;
  for (const char* name : {"head-2", "head-1", "other"}) {
    Answer<void> answer;
    drive.engine->put(node, name, std::make_shared<const Bytes>(body_of(ShardIndex(1), 77)), answer.callback());
    CHECK(answer.wait());
  }
  Answer<void> again;
  drive.engine->put(node, "head-1", std::make_shared<const Bytes>(body_of(ShardIndex(2), 77)), again.callback());
  CHECK(again.wait().error().code == Code::conflict);
  Answer<std::vector<std::string>> names;
  drive.engine->list(node, "head-", "", 10, names.callback());
  CHECK(names.wait() == std::vector<std::string>{"head-1", "head-2"});
  Answer<ObjectStat> stat;
  drive.engine->stat(node, "head-1", stat.callback());
  CHECK(stat.wait()->size == 77);
  Answer<std::size_t> removed;
  drive.engine->remove(node, {"head-1", "head-9", "other"}, removed.callback());
  CHECK(removed.wait() == 3u);
  Answer<ObjectStat> gone;
  drive.engine->stat(node, "head-1", gone.callback());
  CHECK(gone.wait().error().code == Code::not_found);
  Answer<ObjectStat> stranger;
  drive.engine->stat(NodeId{}, "head-1", stranger.callback());
  CHECK(stranger.wait().error().code == Code::invalid);
}

TEST_CASE("Closing the engine while transfers run completes each of them exactly once") {
  Drive drive(4);
  std::atomic<int> begun = 0;
  std::atomic<int> ended = 0;
  std::atomic<int> strange = 0;
  for (int i = 0; i < 200; ++i) {
    ++begun;
    const auto body = std::make_shared<const Bytes>(body_of(ShardIndex(3), 20000));
    drive.engine->put(drive.specs[i % 4].id, "object-" + std::to_string(i), body, [&](Result<> result) {
      if (!result && result.error().code != Code::cancelled) ++strange;
      ++ended;
    });
  }
  drive.engine->close();
  CHECK(ended == begun);
  CHECK(strange == 0);
  drive.engine->put(drive.specs[0].id, "late", std::make_shared<const Bytes>(), [&](Result<> result) {
    CHECK(result.error().code == Code::cancelled);
    ++ended;
  });
  CHECK(ended == begun + 1);
  drive.engine.reset();
  drive.start();
  CHECK(drive.engine->nodes()[0].state == NodeState::ok);
}

TEST_CASE("Adopting a folder gives it an identity once, and refuses one that holds other things") {
  TemporaryFolder folder;
  SystemRandom random;
  const auto first = adopt_node("dir:" + (folder / "a/b/./c/"), random);
  REQUIRE(first);
  CHECK(first->url == "dir:" + (folder / "a/b/c"));
  CHECK(adopt_node(first->url, random)->id == first->id);
  std::filesystem::create_directory(folder / "full");
  std::ofstream(folder / "full/letter.txt") << "dear node";
  CHECK(adopt_node("dir:" + (folder / "full"), random).error().code == Code::not_empty);
  CHECK(adopt_node("dir:", random).error().code == Code::invalid);
  CHECK(adopt_node("ftp://example", random).error().code == Code::invalid);
  CHECK(adopt_node("dir:/", random).error().code == Code::invalid);
  std::ofstream(folder / "a/b/c/atoll-node") << "atoll-node 2\nid 00\n";
  CHECK(adopt_node(first->url, random).error().code == Code::newer_format);
}
