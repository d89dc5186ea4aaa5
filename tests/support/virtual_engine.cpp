#include "tests/support/virtual_engine.h"

#include <stdexcept>

namespace atl {

VirtualEngine::VirtualEngine(std::size_t count, EngineOptions options, std::uint64_t capacity, std::uint64_t seed)
    : random(seed) {
  for (std::size_t i = 0; i < count; ++i) make_node(capacity);
  const std::vector<std::shared_ptr<Node>> as_nodes(nodes.begin(), nodes.end());
  auto maker = [this](const NodeSpec& spec) -> Result<std::shared_ptr<Node>> {
    const auto found = index_of_url(spec.url);
    if (!found) return fail(Code::invalid, spec.url + " is no node");
    return nodes[*found];
  };
  engine = std::make_unique<EngineCore>(loop, random, options, specs, as_nodes, std::move(maker));
  loop.run_ready();
}

NodeSpec& VirtualEngine::make_node(std::uint64_t capacity) {
  NodeSpec spec;
  spec.id = random.id<NodeId>();
  spec.url = "memory:" + std::to_string(specs.size());
  specs.push_back(spec);
  nodes.push_back(std::make_shared<MemoryNode>(loop, capacity));
  return specs.back();
}

std::optional<std::size_t> VirtualEngine::index_of_url(const std::string& url) const {
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (url == "memory:" + std::to_string(i)) return i;
  }
  return std::nullopt;
}

Bytes VirtualEngine::body_of(ShardIndex shard, std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(i * 31 + shard.value * 7 + (i >> 8));
  return bytes;
}

UploadRequest VirtualEngine::upload_request(std::size_t shards) {
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
  request.on_stored = [this](ShardHome home) { homes.push_back(home); };
  return request;
}

FetchRequest VirtualEngine::fetch_request(std::size_t wanted, std::size_t need) {
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
    return view.size() == 500 && std::equal(view.begin(), view.end(), expected.begin() + 10);
  };
  return request;
}

Result<> VirtualEngine::upload(UploadRequest request) {
  std::optional<Result<>> outcome;
  request.done = [&](Result<> result) { outcome = std::move(result); };
  engine->upload(std::move(request));
  if (!loop.run_until([&] { return outcome.has_value(); })) throw std::runtime_error("the upload never ended");
  return *outcome;
}

Result<VirtualEngine::Answers> VirtualEngine::fetch(FetchRequest request) {
  std::optional<Result<Answers>> outcome;
  request.done = [&](Result<Answers> result) { outcome = std::move(result); };
  engine->fetch(std::move(request));
  if (!loop.run_until([&] { return outcome.has_value(); })) throw std::runtime_error("the fetch never ended");
  return *outcome;
}

std::size_t VirtualEngine::index_of(const NodeId& id) const {
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].id == id) return i;
  }
  throw std::out_of_range("no such node");
}

MemoryNode& VirtualEngine::holder(std::size_t shard) {
  for (const ShardHome& home : homes) {
    if (home.shard.value == shard) return *nodes[index_of(home.node)];
  }
  throw std::out_of_range("no node holds that shard");
}

}  // namespace atl
