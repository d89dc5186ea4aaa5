#include "cache/drive/segment_fetcher.h"

#include <algorithm>
#include <cstring>

#include "cache/erasure/shard_codec.h"

namespace atl {
namespace {

constexpr std::uint64_t read_ahead_max = 4ull << 20;
constexpr std::size_t windows_max = 1024;
constexpr Duration repeated_within = std::chrono::milliseconds(250);

/// Everything one call to nodes needs; shared with completions that may outlive the caller's patience.
struct Answers {
  std::mutex mutex;
  std::vector<std::optional<Result<std::vector<std::pair<ShardIndex, Bytes>>>>> runs;
  std::size_t missing = 0;
  Waiters landed;
};

}  // namespace

std::pair<std::uint64_t, std::uint64_t> SegmentFetcher::widen(SegmentId id, const SegmentRow& row, std::uint64_t offset,
                                                              std::uint64_t length) {
  std::uint64_t begin = offset / cache_block_bytes * cache_block_bytes;
  std::uint64_t end = offset + length;
  if (windows_.size() > windows_max) windows_.clear();  // only a hint is lost
  Window& window = windows_[id];
  if (offset <= window.next && offset + length + read_ahead_max > window.next && window.next != 0) {
    window.length = std::min(std::max<std::uint64_t>(window.length * 2, 256u << 10), read_ahead_max);
    end = std::max(end, begin + window.length);
  } else {
    window.length = 0;
  }
  end = std::min((end + cache_block_bytes - 1) / cache_block_bytes * cache_block_bytes, row.bytes);
  window.next = end;
  return {begin, end};
}

Result<> SegmentFetcher::fetch(SegmentId id, const SegmentRow& row, std::uint64_t offset, MutableBytes out,
                               MonotonicTime deadline, const std::stop_token& stop) {
  if (offset + out.size() > row.bytes) return fail(Code::corrupt, "an extent lies beyond the end of segment " + std::to_string(id.value));
  std::shared_ptr<Flight> flight;
  bool mine = false;
  {
    std::lock_guard lock(mutex_);
    if (const auto late = late_.find(id); late != late_.end()) {
      const auto& [failed, at] = late->second;
      if (core_.seams.clock.now() - at >= repeated_within)
        late_.erase(late);
      else if (failed->begin <= offset && offset + out.size() <= failed->end)
        return fail(failed->bytes.error());
    }
    auto& flights = flights_[id];
    for (const auto& other : flights)
      if (other->begin <= offset && offset + out.size() <= other->end) flight = other;
    if (!flight) {
      mine = true;
      flight = std::make_shared<Flight>();
      std::tie(flight->begin, flight->end) = widen(id, row, offset, out.size());
      flights.push_back(flight);
    }
  }
  if (mine) {
    Result<Bytes> bytes = ask_nodes(row, flight->begin, flight->end, deadline, stop);
    if (bytes) {
      if (auto cached = core_.segments->find_or_create_cached(id, row.bytes)) (*cached)->fill(flight->begin, *bytes);
      core_.segments->shrink_cache(core_.options.cache_max);
    }
    {
      std::lock_guard lock(mutex_);
      flight->bytes = std::move(bytes);
      flight->landed = true;
      if (late_.size() > windows_max) late_.clear();
      if (!flight->bytes && flight->bytes.error().code == Code::timed_out) late_[id] = {flight, core_.seams.clock.now()};
      auto& flights = flights_[id];
      flights.remove(flight);
      if (flights.empty()) flights_.erase(id);
    }
    core_.changed.wake();
  } else {
    const bool landed = core_.changed.wait(core_.seams.runtime, deadline, stop, [&] {
      std::lock_guard lock(mutex_);
      return flight->landed;
    });
    if (!landed) {
      if (stop.stop_requested()) return fail(Code::cancelled, "a read was interrupted");
      return fail(Code::timed_out, "nodes did not answer in time");
    }
    // The one who asked gave up, not we: ask ourselves.
    if (!flight->bytes && flight->bytes.error().code == Code::cancelled) return fetch(id, row, offset, out, deadline, stop);
  }
  if (!flight->bytes) return fail(flight->bytes.error());
  std::memcpy(out.data(), flight->bytes->data() + (offset - flight->begin), out.size());
  return {};
}

Result<Bytes> SegmentFetcher::ask_nodes(const SegmentRow& row, std::uint64_t begin, std::uint64_t end, MonotonicTime deadline,
                                        const std::stop_token& stop) {
  Engine* engine = core_.engine.load();
  if (engine == nullptr || !row.has_attempt) return fail(Code::unavailable, "the bytes are on nodes, and the drive is offline");
  const KeyEpoch epoch{1};  // shard keys do not rotate: objects outlive key epochs
  auto mac_key = core_.keyring.derive(epoch, KeyPurpose::shard_mac);
  auto name_key = core_.keyring.derive(epoch, KeyPurpose::object_name);
  if (!mac_key) return fail(mac_key.error());
  if (!name_key) return fail(name_key.error());
  const auto macs = std::make_shared<const LeafMacs>(*mac_key, core_.keyring.volume(), row.attempt);
  const Redundancy redundancy{row.k, row.n};
  const ShardGeometry geometry = ShardGeometry::of(redundancy, row.shipped_bytes());
  // Nodes hold the segment without its local header; where a range touches that, zeros stand for it.
  const std::uint64_t shipped_begin = std::max<std::uint64_t>(begin, segment_header_bytes) - segment_header_bytes;
  const std::uint64_t shipped_end = end - segment_header_bytes;
  const std::vector<ShardGeometry::Run> runs = geometry.cover(shipped_begin, shipped_end - shipped_begin);

  const auto homes = std::make_shared<const std::vector<ShardHome>>(row.placed);
  const auto answers = std::make_shared<Answers>();
  answers->runs.resize(runs.size());
  answers->missing = runs.size();
  std::vector<std::shared_ptr<Transfer>> transfers;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const ShardGeometry::Run run = runs[i];
    FetchRequest request;
    for (const ShardHome& home : row.placed) {
      FetchSource source{home, shard_object_name(*name_key, row.attempt, home.shard, home.node)};
      if (home.shard == run.shard) {
        request.wanted = std::move(source);
      } else {
        request.others.push_back(std::move(source));
      }
    }
    request.need = row.k;
    request.offset = ShardGeometry::leaf_offset(run.first_leaf);
    request.length = std::uint64_t{run.leaf_count} * (leaf_bytes + leaf_mac_bytes);
    request.verify = [this, macs, run, homes, attempt = row.attempt](ShardIndex shard, ByteView answer) {
      if (macs->verify(shard, run.first_leaf, run.leaf_count, answer)) return true;
      for (const ShardHome& home : *homes)
        if (home.shard == shard) core_.suspect({attempt, home, run.first_leaf});
      return false;
    };
    request.deadline = deadline;
    request.done = [answers, i](Result<std::vector<std::pair<ShardIndex, Bytes>>> result) {
      {
        std::lock_guard lock(answers->mutex);
        answers->runs[i] = std::move(result);
        --answers->missing;
      }
      answers->landed.wake();
    };
    transfers.push_back(engine->fetch(std::move(request)));
  }
  const bool all = answers->landed.wait(core_.seams.runtime, deadline, stop, [&] {
    std::lock_guard lock(answers->mutex);
    return answers->missing == 0;
  });
  if (!all) {
    for (const auto& transfer : transfers) transfer->cancel();
    if (stop.stop_requested()) return fail(Code::cancelled, "a read was interrupted");
    return fail(Code::timed_out, "nodes did not answer in time");
  }

  Bytes bytes(end - begin);
  std::lock_guard lock(answers->mutex);
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const ShardGeometry::Run& run = runs[i];
    auto& result = *answers->runs[i];
    if (!result) return fail(result.error());
    Bytes leaves;
    std::vector<std::pair<ShardIndex, Bytes>> stripped;
    for (const auto& [shard, answer] : *result) {
      if (shard == run.shard) leaves = strip_macs(answer);
      else stripped.emplace_back(shard, strip_macs(answer));
    }
    if (leaves.empty()) {
      std::vector<std::pair<ShardIndex, ByteView>> views(stripped.begin(), stripped.end());
      auto rebuilt = rebuild_leaves(redundancy, run.shard, views);
      if (!rebuilt) return fail(rebuilt.error());
      leaves = std::move(*rebuilt);
      core_.counters.rebuilt_leaves += run.leaf_count;
    }
    // The run's leaves may begin before and end behind what was asked.
    const std::uint64_t from = std::max(shipped_begin, run.segment_offset);
    const std::uint64_t to = std::min(shipped_end, run.segment_offset + leaves.size());
    if (from < to) std::memcpy(bytes.data() + (from + segment_header_bytes - begin), leaves.data() + (from - run.segment_offset), to - from);
  }
  return bytes;
}

}  // namespace atl
