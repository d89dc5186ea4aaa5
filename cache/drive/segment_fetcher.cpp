#include "cache/drive/segment_fetcher.h"

#include <algorithm>
#include <cstring>

#include "cache/erasure/shard_codec.h"

namespace atl {
namespace {

constexpr std::uint64_t read_ahead_max = 4ull << 20;
constexpr std::uint64_t out_of_order_max = 512u << 10;
constexpr std::uint64_t keep_others_min = 256u << 10;  // with less, somebody reads here and there
constexpr std::size_t windows_max = 1024;
constexpr std::size_t macs_max = 16;
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
                                                              std::uint64_t until) {
  std::uint64_t begin = offset / cache_block_bytes * cache_block_bytes;
  std::uint64_t end = until;
  if (windows_.size() > windows_max) windows_.clear();  // only a hint is lost
  Window& window = windows_[id];
  // Requests of one reader overtake each other.
  const bool sequential = window.next != 0 && offset <= window.next + out_of_order_max && until + read_ahead_max > window.next;
  window.length = sequential ? std::min(std::max<std::uint64_t>(window.length * 2, 256u << 10), read_ahead_max) : 0;
  end = std::max(end, begin + window.length);
  end = std::min((end + cache_block_bytes - 1) / cache_block_bytes * cache_block_bytes, row.bytes);
  window.next = sequential ? std::max(window.next, end) : end;
  return {begin, end};
}

std::uint64_t SegmentFetcher::until_known(SegmentId id, const SegmentFile* here, std::uint64_t must, std::uint64_t end) {
  std::uint64_t until = (must + cache_block_bytes - 1) / cache_block_bytes * cache_block_bytes;
  const auto under_way = [&](std::uint64_t block) {
    const auto& flights = flights_[id];
    return std::any_of(flights.begin(), flights.end(), [&](const auto& flight) { return flight->begin <= block && block < flight->end; });
  };
  while (until < end && !under_way(until) && !(here != nullptr && here->holds(until, std::min<std::uint64_t>(cache_block_bytes, end - until))))
    until += cache_block_bytes;
  return std::min(until, end);
}

Result<std::shared_ptr<const AttemptMacs>> SegmentFetcher::macs_of(const AttemptId& attempt) {
  // Each key is memory of its own that is locked and guarded, which costs more than the keys of a small read.
  std::lock_guard lock(mutex_);
  if (!keys_) {
    auto keys = KeyringShardKeys::make(core_.keyring);
    if (!keys) return fail(keys.error());
    keys_.emplace(std::move(*keys));
  }
  for (auto it = macs_.begin(); it != macs_.end(); ++it) {
    if (it->first != attempt) continue;
    macs_.splice(macs_.begin(), macs_, it);
    return it->second;
  }
  auto macs = keys_->macs(attempt);
  if (!macs) return fail(macs.error());
  macs_.emplace_front(attempt, std::make_shared<const AttemptMacs>(std::move(*macs)));
  if (macs_.size() > macs_max) macs_.pop_back();
  return macs_.front().second;
}

Result<> SegmentFetcher::fetch(SegmentId id, const SegmentRow& row, std::uint64_t offset, MutableBytes out, std::uint64_t until,
                               Local local, MonotonicTime deadline, const std::stop_token& stop) {
  if (offset + out.size() > row.bytes) return fail(Code::corrupt, "an extent lies beyond the end of segment " + std::to_string(id.value));
  std::shared_ptr<Flight> flight;
  std::shared_ptr<SegmentFile> brought;  // since the caller looked
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
      const std::shared_ptr<SegmentFile> here = local == Local::missing ? core_.segments->find(id) : nullptr;
      if (here && here->holds(offset, out.size())) {
        brought = here;
        if (flights.empty()) flights_.erase(id);
      } else {
        mine = true;
        flight = std::make_shared<Flight>();
        std::tie(flight->begin, flight->end) = widen(id, row, offset, std::max(until, offset + out.size()));
        flight->end = until_known(id, here.get(), offset + out.size(), flight->end);
        flights.push_back(flight);
      }
    }
  }
  if (brought) {
    if (brought->read(offset, out)) return {};
    return fetch(id, row, offset, out, until, Local::distrusted, deadline, stop);
  }
  if (mine) {
    Result<Bytes> bytes = ask_nodes(id, row, flight->begin, flight->end, local, deadline, stop);
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
    if (!flight->bytes && flight->bytes.error().code == Code::cancelled) return fetch(id, row, offset, out, until, local, deadline, stop);
  }
  if (!flight->bytes) return fail(flight->bytes.error());
  std::memcpy(out.data(), flight->bytes->data() + (offset - flight->begin), out.size());
  return {};
}

Result<> SegmentFetcher::keep_others(SegmentId id, const SegmentRow& row, const ShardGeometry& geometry, const ShardGeometry::Run& run,
                                     const std::vector<std::pair<ShardIndex, ByteView>>& leaves) {
  const std::uint64_t length = std::uint64_t{run.leaf_count} * leaf_bytes;
  if (length < keep_others_min) return {};
  auto file = core_.segments->find_or_create_cached(id, row.bytes);
  if (!file) return {};  // a cache that cannot be is no error to a reader
  Bytes rebuilt;
  for (std::uint8_t data = 0; data < row.k; ++data) {
    if (ShardIndex(data) == run.shard) continue;
    const std::uint64_t at = segment_header_bytes + data * geometry.payload_bytes() + std::uint64_t{run.first_leaf} * leaf_bytes;
    const std::uint64_t end = std::min(at + length, row.bytes);
    const std::uint64_t from = (at + cache_block_bytes - 1) / cache_block_bytes * cache_block_bytes;
    const std::uint64_t to = end == row.bytes ? end : end / cache_block_bytes * cache_block_bytes;
    if (from >= to || (*file)->holds(from, to - from)) continue;
    const auto answered = std::find_if(leaves.begin(), leaves.end(), [&](const auto& answer) { return answer.first == ShardIndex(data); });
    ByteView bytes;
    if (answered != leaves.end()) {
      bytes = answered->second;
    } else {
      rebuilt.resize(static_cast<std::size_t>(length));
      if (auto r = rebuild_leaves(geometry.redundancy, ShardIndex(data), leaves, rebuilt); !r) return r;
      core_.counters.rebuilt_leaves += run.leaf_count;
      bytes = rebuilt;
    }
    (*file)->fill(from, bytes.subspan(static_cast<std::size_t>(from - at), static_cast<std::size_t>(to - from)));
  }
  return {};
}

Result<Bytes> SegmentFetcher::ask_nodes(SegmentId id, const SegmentRow& row, std::uint64_t begin, std::uint64_t end, Local local,
                                        MonotonicTime deadline, const std::stop_token& stop) {
  Engine* engine = core_.engine.load();
  if (engine == nullptr || !row.has_attempt) return fail(Code::unavailable, "the bytes are on nodes, and the drive is offline");
  const auto found = macs_of(row.attempt);
  if (!found) return fail(found.error());
  const std::shared_ptr<const AttemptMacs>& macs = *found;
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
      FetchSource source{home, keys_->name(row.attempt, home.shard, home.node)};
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
    // The run's leaves may begin before and end behind what was asked.
    const auto place = [&](std::uint64_t at, ByteView leaves) {
      const std::uint64_t from = std::max(shipped_begin, at);
      const std::uint64_t to = std::min(shipped_end, at + leaves.size());
      if (from < to) std::memcpy(bytes.data() + (from + segment_header_bytes - begin), leaves.data() + (from - at), to - from);
    };
    const auto own = std::find_if(result->begin(), result->end(), [&](const auto& answer) { return answer.first == run.shard; });
    if (own != result->end()) {
      for (std::uint32_t leaf = 0; leaf < run.leaf_count; ++leaf)
        place(run.segment_offset + std::uint64_t{leaf} * leaf_bytes, ByteView(own->second).subspan(std::size_t{leaf} * (leaf_bytes + leaf_mac_bytes), leaf_bytes));
      continue;
    }
    std::vector<std::pair<ShardIndex, Bytes>> stripped;
    for (const auto& [shard, answer] : *result) stripped.emplace_back(shard, strip_macs(answer));
    const std::vector<std::pair<ShardIndex, ByteView>> views(stripped.begin(), stripped.end());
    Bytes rebuilt(std::size_t{run.leaf_count} * leaf_bytes);
    if (auto r = rebuild_leaves(redundancy, run.shard, views, rebuilt); !r) return fail(r.error());
    core_.counters.rebuilt_leaves += run.leaf_count;
    place(run.segment_offset, rebuilt);
    if (local == Local::missing)
      if (auto r = keep_others(id, row, geometry, run, views); !r) return fail(r.error());
  }
  return bytes;
}

}  // namespace atl
