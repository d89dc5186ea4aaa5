#include "cache/care/shard_verification.h"

#include <algorithm>

#include "cache/care/call_results.h"

namespace atl {
namespace {

constexpr Duration patience = std::chrono::minutes(2);
constexpr std::uint32_t window_leaves = 64;  // read at once: a MiB

}  // namespace

ShardVerdict verify_shard(Engine& engine, Runtime& runtime, const std::stop_token& stop, const ShardKeys& keys, const SegmentRow& row,
                          const ShardHome& home, ByteView expected, std::uint64_t& read_bytes) {
  const auto macs = keys.macs(row.attempt);
  if (!macs) return ShardVerdict::silent;
  const std::string name = keys.name(row.attempt, home.shard, home.node);
  const ShardGeometry geometry = ShardGeometry::of({row.k, row.n}, row.shipped_bytes());
  const auto said = std::make_shared<CallResults<ObjectStat>>(1);
  engine.stat(home.node, name, [said](Result<ObjectStat> stat) { said->give(0, std::move(stat)); });
  if (!said->landed.wait(runtime, runtime.clock().now() + patience, stop, [&] { return said->all(); })) return ShardVerdict::silent;
  {
    std::lock_guard lock(said->mutex);
    const Result<ObjectStat>& stat = *said->results[0];
    if (!stat) return stat.error().code == Code::not_found ? ShardVerdict::missing : ShardVerdict::silent;
    if (stat->size != geometry.object_bytes()) return ShardVerdict::damaged;
  }
  for (std::uint32_t first = 0; first < geometry.leaves; first += window_leaves) {
    const std::uint32_t count = std::min(window_leaves, geometry.leaves - first);
    using Shards = std::vector<std::pair<ShardIndex, Bytes>>;
    const auto answer = std::make_shared<CallResults<Shards>>(1);
    const MonotonicTime deadline = runtime.clock().now() + patience;
    FetchRequest fetch;
    fetch.wanted = FetchSource{home, name};
    fetch.offset = first == 0 ? 0 : ShardGeometry::leaf_offset(first);  // the header as well
    fetch.length = ShardGeometry::leaf_offset(first + count) - fetch.offset;
    // Judged below and not by the engine: a shard that is none says nothing of the node, which was given it.
    fetch.verify = [](ShardIndex, ByteView) { return true; };
    fetch.deadline = deadline;
    fetch.done = [answer](Result<Shards> shards) { answer->give(0, std::move(shards)); };
    const auto transfer = engine.fetch(std::move(fetch));
    if (!answer->landed.wait(runtime, deadline + std::chrono::seconds(5), stop, [&] { return answer->all(); })) {
      transfer->cancel();
      return ShardVerdict::silent;
    }
    std::lock_guard lock(answer->mutex);
    if (!*answer->results[0] || (*answer->results[0])->empty()) return ShardVerdict::silent;
    ByteView bytes = (*answer->results[0])->front().second;
    read_bytes += bytes.size();
    if (!expected.empty()) {
      const ByteView part = expected.subspan(first == 0 ? 0 : ShardGeometry::leaf_offset(first));
      if (bytes.size() > part.size() || !std::equal(bytes.begin(), bytes.end(), part.begin())) return ShardVerdict::damaged;
    }
    if (first == 0) {
      if (bytes.size() < shard_header_bytes || !check_shard_header(bytes.first(shard_header_bytes))) return ShardVerdict::damaged;
      bytes = bytes.subspan(shard_header_bytes);
    }
    if (!macs->verify(home.shard, first, count, bytes)) return ShardVerdict::damaged;
  }
  return ShardVerdict::whole;
}

}  // namespace atl
