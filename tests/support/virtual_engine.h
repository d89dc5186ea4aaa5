// An engine on memory nodes under virtual time, and its calls as if they blocked. For tests. One thread.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "engine/engine_core.h"
#include "tests/support/memory_node.h"
#include "tests/support/seeded_random.h"
#include "tests/support/virtual_loop.h"

namespace atl {

class VirtualEngine {
 public:
  explicit VirtualEngine(std::size_t count, EngineOptions options = {}, std::uint64_t capacity = std::uint64_t{1} << 30,
                         std::uint64_t seed = 1);

  /// A node that set_nodes may name: its node is made, and `specs` and `nodes` hold it.
  NodeSpec& make_node(std::uint64_t capacity = std::uint64_t{1} << 30);
  /// The content that upload() gives a shard.
  static Bytes body_of(ShardIndex shard, std::size_t size = 1000);
  static std::string name_of(ShardIndex shard) { return "shard-" + std::to_string(shard.value); }
  /// Of `shards` shards, wherever the engine puts them.
  UploadRequest upload_request(std::size_t shards);
  /// Of 500 bytes at 10, from where the last uploads stored them; `wanted` is not asked for beyond the last shard.
  FetchRequest fetch_request(std::size_t wanted, std::size_t need);

  using Answers = std::vector<std::pair<ShardIndex, Bytes>>;
  /// Runs until the transfer is done; throws if it never is, within virtual hours.
  Result<> upload(UploadRequest request);
  Result<Answers> fetch(FetchRequest request);
  Result<> upload(std::size_t shards) { return upload(upload_request(shards)); }
  Result<Answers> fetch(std::size_t wanted, std::size_t need) { return fetch(fetch_request(wanted, need)); }

  MemoryNode& node(std::size_t i) { return *nodes[i]; }
  NodeState state(std::size_t i) const { return engine->nodes()[i].state; }
  std::size_t index_of(const NodeId& id) const;
  /// The node that holds a shard.
  MemoryNode& holder(std::size_t shard);

  std::optional<std::size_t> index_of_url(const std::string& url) const;

  VirtualLoop loop;
  SeededRandom random;
  std::vector<NodeSpec> specs;
  std::vector<std::shared_ptr<MemoryNode>> nodes;
  std::unique_ptr<EngineCore> engine;
  std::vector<ShardHome> homes;  // as on_stored told
};

}  // namespace atl
