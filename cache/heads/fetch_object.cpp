#include "cache/heads/fetch_object.h"


namespace atl {

void fetch_object(Engine& engine, NodeId node, std::string object_name, MonotonicTime deadline, std::function<bool(ByteView)> valid,
                  std::function<void(Result<Bytes>)> done, std::uint64_t bytes_max) {
  engine.stat(node, object_name, [&engine, node, object_name, deadline, bytes_max, valid = std::move(valid), done = std::move(done)](Result<ObjectStat> stat) {
    if (!stat) return done(fail(stat.error()));
    if (stat->size == 0 || stat->size > bytes_max)
      return done(fail(Code::corrupt, "a node says that an object of metadata has " + human_bytes(stat->size)));
    // Why a fetch from one source failed is told by whether its answer came at all.
    const auto answered = std::make_shared<bool>(false);
    FetchRequest request;
    request.wanted = FetchSource{{ShardIndex(0), node}, object_name};
    request.length = stat->size;
    request.deadline = deadline;
    request.verify = [valid, answered](ShardIndex, ByteView bytes) {
      *answered = true;
      return valid(bytes);
    };
    request.done = [done, answered](Result<std::vector<std::pair<ShardIndex, Bytes>>> result) {
      if (result && !result->empty()) return done(std::move(result->front().second));
      if (*answered) return done(fail(Code::corrupt, "a node's object of metadata is not what was stored"));
      done(fail(result ? Error(Code::failed, "nothing came") : result.error()));
    };
    engine.fetch(std::move(request));
  });
}

}  // namespace atl
