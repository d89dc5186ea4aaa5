#include "cache/drive/reclaimer.h"

#include <algorithm>

#include "cache/drive/live_frames.h"
#include "cache/drive/publisher.h"
#include "cache/erasure/shard_codec.h"
#include "engine/base/mutant.h"

namespace atl {
namespace {

constexpr Duration pass_interval = std::chrono::seconds(10);
constexpr std::size_t copy_bytes = 2u << 20;
constexpr std::uint64_t small_bytes = segment_bytes_max / 8;
constexpr std::size_t small_count_background = 8;
constexpr auto object_wait = std::chrono::seconds(60);
constexpr int garbage_rounds_max = 3;
constexpr std::uint64_t grace_per_removal = 24;  // once an hour, where the grace is a day

}  // namespace

void Reclaimer::drop(SegmentId segment) {
  std::lock_guard lock(core_.mutex);
  const auto found = core_.tables->segments().find(segment);
  if (core_.refusal() || found == core_.tables->segments().end() || found->second.live_extents != 0) return;
  if (shipper_.in_flight(segment)) return;      // the shipper drops it when that has ended
  if (core_.in_care.contains(segment)) return;  // its shards are on the move; a later round drops it
  if (core_.pinned_dead(segment)) return;  // a head in the making still needs it; the next round drops it
  core_.log(SegmentDropped{segment, core_.ran_seconds()});
  if (mutant("freed-too-early")) (void)core_.segments->remove(segment);
  core_.after_durable.push_back([this, segment] {
    (void)core_.segments->remove(segment);  // Code::not_found: there was no local copy
  });
}

Result<Bytes> Reclaimer::segment_bytes(SegmentId segment, const SegmentRow& row) {
  Bytes bytes(row.bytes);
  if (const auto file = core_.segments->find(segment); file && file->holds(0, row.bytes)) {
    if (auto r = file->read(0, bytes); r) return bytes;
  }
  const MonotonicTime deadline = core_.seams.clock.now() + core_.options.read_timeout;
  if (auto r = fetcher_.fetch(segment, row, 0, bytes, 0, SegmentFetcher::Local::distrusted, deadline, tasks_.stop_token()); !r) return fail(r.error());
  return bytes;
}

bool Reclaimer::short_of_room() {
  const std::uint64_t staged = core_.segments->usage().staged_bytes;
  if (staged + 2 * segment_bytes_max > core_.options.staging_max / 2) return true;
  const auto usage = core_.seams.disk.usage(core_.directory);
  return !usage || usage->free_bytes < core_.options.disk_reserve + 4 * segment_bytes_max;
}

bool Reclaimer::moved_is_protected() {
  const SegmentId barrier = barrier_.load();
  std::lock_guard lock(core_.mutex);
  for (const auto& [id, row] : core_.tables->segments()) {
    if (id >= barrier) break;
    if (row.live_extents > 0 && !core_.tables->volume().is_protected(row)) return false;
  }
  return true;
}

Result<> Reclaimer::rewrite(SegmentId segment) {
  if (auto r = committer_.commit(); !r) return r;  // its frames are on disk, and what is dead is so for good
  SegmentRow row;
  {
    std::lock_guard lock(core_.mutex);
    if (auto refused = core_.refusal()) return fail(*refused);
    const auto found = core_.tables->segments().find(segment);
    if (found == core_.tables->segments().end() || !found->second.finished) return {};
    row = found->second;
  }
  auto bytes = segment_bytes(segment, row);
  if (!bytes) return fail(bytes.error());
  const std::vector<LiveFrame> live = find_live_frames(core_, segment, *bytes);
  std::uint64_t live_bytes = 0;
  for (const LiveFrame& frame : live) live_bytes += frame_bytes(frame.row.length);
  bool damaged = false;
  {
    std::lock_guard lock(core_.mutex);
    const auto found = core_.tables->segments().find(segment);
    damaged = found != core_.tables->segments().end() && found->second.live_bytes > live_bytes;
    if (damaged && found->second.full()) {
      // A local copy that hides live frames: nodes have whole ones, and the next pass asks them.
      ++core_.changes;
      core_.after_durable.push_back([this, segment] { (void)core_.segments->remove(segment); });
      return fail(Code::corrupt, "the local copy of segment " + std::to_string(segment.value) + " is damaged; it is fetched again");
    }
  }
  Bytes plain;
  for (std::size_t begin = 0; begin < live.size();) {
    std::size_t end = begin;
    std::uint64_t sum = 0;
    std::vector<std::uint32_t> lengths;
    while (end < live.size() && sum < copy_bytes) {
      lengths.push_back(live[end].row.length);
      sum += frame_bytes(live[end].row.length);
      ++end;
    }
    std::optional<std::vector<SegmentWriter::Place>> places;
    while (!(places = core_.writer->reserve(lengths))) {
      if (auto ensured = core_.writer->ensure(sum + frame_bytes(extent_bytes_max)); !ensured) return ensured;
    }
    // Each is opened first: damage must not be copied along as if it were whole.
    Result<> written;
    std::vector<bool> copied(end - begin, false);
    for (std::size_t i = begin; i < end && written; ++i) {
      const LiveFrame& frame = live[i];
      const ByteView found = ByteView(*bytes).subspan(frame.row.offset, frame_bytes(frame.row.length));
      plain.resize(frame.row.length);
      const ExtentContext context{core_.keyring.volume(), frame.row.epoch, frame.extent, frame.row.length};
      const SegmentWriter::Place& place = (*places)[i - begin];
      if (core_.sealer(frame.row.epoch).open(context, found.subspan(frame_header_bytes, frame.row.length + seal_overhead_bytes), plain)) {
        written = place.file->write(place.offset, found);
      } else {
        const MonotonicTime deadline = core_.seams.clock.now() + core_.options.read_timeout;
        auto whole = reader_.read_frame(frame.extent, frame.row, deadline, tasks_.stop_token());
        if (!whole) {
          damaged = damaged || whole.error().code != Code::not_found;
          continue;  // it stays where it is, and is answered with an error to whoever reads it
        }
        written = place.file->write(place.offset, *whole);
      }
      if (written) core_.writer->written(place);
      copied[i - begin] = written.has_value();
    }
    if (written) {
      std::lock_guard lock(core_.mutex);
      if (!core_.refusal()) {
        std::map<SegmentId, Relocated> moves;  // places of one reservation may lie in two segments
        for (std::size_t i = begin; i < end; ++i) {
          if (!copied[i - begin]) continue;
          const SegmentWriter::Place& place = (*places)[i - begin];
          Relocated& moved = moves[place.segment()];
          moved.from = segment;
          moved.to = place.segment();
          moved.moves.push_back({live[i].extent, live[i].row.offset, place.offset});
        }
        for (auto& [to, moved] : moves) core_.log(std::move(moved));
      }
    }
    for (const auto& place : *places) core_.writer->settle(place);
    if (!written) return written;
    begin = end;
  }
  barrier_ = core_.writer->next();
  ++core_.counters.segments_compacted;
  drop(segment);
  if (damaged) return fail(Code::corrupt, "parts of segment " + std::to_string(segment.value) + " are damaged and stay where they are");
  return {};
}

std::vector<SegmentId> Reclaimer::encoded_otherwise(bool thorough) {
  std::vector<SegmentId> found;
  // So much in the time between two passes, like all that care does.
  const auto seconds = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(pass_interval).count());
  std::uint64_t budget = thorough ? ~std::uint64_t{0} : std::max<std::uint64_t>(core_.options.care_bandwidth * seconds, 1);
  std::lock_guard lock(core_.mutex);
  const VolumeRow& volume = core_.tables->volume();
  for (const auto& [id, row] : core_.tables->segments()) {
    if (!row.finished || !row.has_attempt || row.live_extents == 0 || (row.k == volume.k && row.n == volume.n) || mutant("redundancy-as-it-was")) continue;
    // One that is not full may wait for nodes that it will never have: it is moved over as well.
    if (shipper_.in_flight(id) || core_.in_care.contains(id) || core_.pinned(id)) continue;
    found.push_back(id);
    if (row.bytes >= budget) break;
    budget -= row.bytes;
  }
  return found;
}

std::vector<SegmentId> Reclaimer::candidates(bool thorough) {
  std::vector<SegmentId> wasteful = encoded_otherwise(thorough), small;
  const std::set<SegmentId> chosen(wasteful.begin(), wasteful.end());
  std::lock_guard lock(core_.mutex);
  for (const auto& [id, row] : core_.tables->segments()) {
    // What is not on nodes in full is the shipper's.
    if (!row.finished || !row.full() || row.live_extents == 0 || shipper_.in_flight(id) || chosen.contains(id)) continue;
    const std::uint64_t content = row.bytes - segment_header_bytes;
    const bool waste = thorough ? row.live_bytes * 4 < content * 3 : row.live_bytes * 2 < content;
    if (waste) {
      wasteful.push_back(id);
    } else if (row.bytes < small_bytes) {
      small.push_back(id);
    }
  }
  if (small.size() >= (thorough ? 2 : small_count_background)) wasteful.insert(wasteful.end(), small.begin(), small.end());
  return wasteful;
}

Result<bool> Reclaimer::remove_objects(bool at_once) {
  Engine* engine = core_.engine.load();
  if (engine == nullptr || !publisher_->garbage_may_go() || !moved_is_protected()) return false;
  std::vector<std::pair<AttemptId, GarbageRow>> due;
  bool overdue = false;
  std::vector<NodeId> nodes;
  {
    std::lock_guard lock(core_.mutex);
    if (core_.refusal()) return false;
    const auto grace = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(core_.options.gc_grace).count());
    // What became garbage minute by minute goes together, since each removal is a request to every node.
    const std::uint64_t together = at_once ? 0 : grace / grace_per_removal;
    const Lsn published = core_.published_lsn.load();
    std::erase_if(garbage_seen_, [this](const auto& seen) { return !core_.tables->garbage().contains(seen.first); });
    for (const auto& [attempt, row] : core_.tables->garbage()) {
      // The newest head that counts may still rest on it, unless it was made since.
      const Lsn seen = garbage_seen_.try_emplace(attempt, core_.telling_lsn).first->second;
      const auto over_for = [&](std::uint64_t seconds) { return row.since_seconds + grace + seconds <= core_.ran_seconds() || mutant("garbage-without-grace"); };
      const bool over = over_for(0);
      overdue = overdue || over_for(together);
      if (over && (seen <= published || mutant("garbage-of-a-head"))) due.emplace_back(attempt, row);
    }
    for (const auto& [id, spec] : core_.tables->nodes()) nodes.push_back(id);
  }
  if (due.empty() || !overdue) return false;
  if (auto r = committer_.commit(); !r) return fail(r.error());  // what made it garbage is durable from here on
  auto name_key = core_.keyring.derive(KeyEpoch{1}, KeyPurpose::object_name);
  if (!name_key) return fail(name_key.error());

  // Any node may hold any shard: an upload that was never confirmed may have put a second copy elsewhere.
  struct Pending {
    std::mutex mutex;
    std::map<NodeId, bool> gone;  // node -> all of its objects are gone
    std::size_t missing = 0;
    Waiters landed;
  };
  const auto pending = std::make_shared<Pending>();
  std::map<NodeId, std::vector<std::string>> names;
  std::map<AttemptId, std::set<NodeId>> touched;
  for (const auto& [attempt, row] : due) {
    for (std::uint8_t shard = 0; shard < row.n; ++shard) {
      for (const NodeId& node : nodes) {
        names[node].push_back(shard_object_name(*name_key, attempt, ShardIndex(shard), node));
        touched[attempt].insert(node);
      }
    }
  }
  pending->missing = names.size();
  for (auto& [node, list] : names) {
    const std::size_t count = list.size();
    engine->remove(node, std::move(list), [this, pending, node_id = node, count](Result<std::size_t> removed) {
      {
        std::lock_guard lock(pending->mutex);
        pending->gone[node_id] = removed && *removed == count;
        --pending->missing;
      }
      if (removed) core_.counters.objects_removed += *removed;
      pending->landed.wake();
    });
  }
  pending->landed.wait(core_.seams.runtime, core_.seams.clock.now() + object_wait, tasks_.stop_token(), [&] {
    std::lock_guard lock(pending->mutex);
    return pending->missing == 0;
  });
  std::scoped_lock lock(core_.mutex, pending->mutex);
  if (auto refused = core_.refusal()) return fail(*refused);
  for (const auto& [attempt, touched_nodes] : touched) {
    const bool gone = std::all_of(touched_nodes.begin(), touched_nodes.end(), [&](const NodeId& node) { return pending->gone[node]; });
    if (gone) core_.log(GarbageRemoved{attempt});
  }
  return true;
}

Result<> Reclaimer::await_head(const std::stop_token& stop) {
  Lsn target;
  {
    std::lock_guard lock(core_.mutex);
    target = core_.telling_lsn;
  }
  publisher_->hurry();
  const auto told = [&] { return core_.published_lsn.load() >= target; };
  if (core_.changed.wait(core_.seams.runtime, core_.seams.clock.now() + object_wait, stop, told)) return {};
  if (stop.stop_requested()) return fail(Code::cancelled, "gc was interrupted");
  return fail(Code::too_few_nodes, "too few nodes can be told of what became garbage, so that its space stays in use", "see `atoll status` for the nodes");
}

void Reclaimer::tick() {
  {
    std::lock_guard lock(tick_mutex_);
    const MonotonicTime now = core_.seams.clock.now();
    if (scheduled_ || (last_pass_ && now - *last_pass_ < pass_interval)) return;
    last_pass_ = now;
    scheduled_ = true;
  }
  tasks_.post([this] {
    (void)collect(false, {});  // what failed is tried again at the next pass
    std::lock_guard lock(tick_mutex_);
    scheduled_ = false;
  });
}

Result<> Reclaimer::collect(bool wait, const std::stop_token& stop) {
  // Not a mutex: a pass waits for nodes, and whoever waits for its end can be interrupted.
  const auto take = [this] {
    std::lock_guard lock(tick_mutex_);
    return !std::exchange(passing_, true);
  };
  if (!wait && !take()) return {};  // somebody is at it
  if (wait && !core_.changed.wait(core_.seams.runtime, std::nullopt, stop, take)) return fail(Code::cancelled, "gc was interrupted");
  struct Leave {
    Reclaimer& reclaimer;
    ~Leave() {
      {
        std::lock_guard lock(reclaimer.tick_mutex_);
        reclaimer.passing_ = false;
      }
      reclaimer.core_.changed.wake();
    }
  };
  const Leave leave{*this};
  const bool thorough = wait;
  for (;;) {
    if (stop.stop_requested()) return fail(Code::cancelled, "gc was interrupted");
    if (tasks_.stop_token().stop_requested()) return fail(Code::cancelled, "the drive is being unmounted");
    if (wait) shipper_.hurry();
    if (auto r = committer_.commit(); !r) return r;
    bool worked = false;
    try {
      for (SegmentId segment : candidates(thorough)) {
        if (stop.stop_requested() || tasks_.stop_token().stop_requested()) break;
        if (short_of_room()) break;  // what was rewritten so far goes to nodes first
        if (auto r = rewrite(segment); !r) {
          if (wait && r.error().code != Code::corrupt) return r;
        } else {
          worked = true;
        }
      }
      if (publisher_->garbage_may_go())
        if (auto swept = sweeper_.sweep(); !swept && wait) return swept;
      auto removed = remove_objects(wait);
      if (!removed && wait) return fail(removed.error());
      // The index may have refused: objects of an absent node stay until it returns.
    } catch (const IndexFailure& failure) {
      std::lock_guard lock(core_.mutex);
      core_.fail_stop(failure.error());
      return fail(failure.error());
    }
    if (!wait) return committer_.commit();
    if (worked && !short_of_room()) continue;
    // Uploads land first; then either there is more to rewrite or only what is due to be removed.
    const auto settled = [&] {
      if (core_.writer->has_open_bytes() || shipper_.busy()) return false;
      std::lock_guard lock(core_.mutex);
      if (core_.trouble || core_.closing) return true;
      for (const auto& [id, row] : core_.tables->segments())
        if (row.finished && (!row.full() || row.live_extents == 0)) return false;
      return true;
    };
    const auto due_left = [&] {
      if (sweeper_.due_left()) return true;
      std::lock_guard lock(core_.mutex);
      const auto grace = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(core_.options.gc_grace).count());
      return std::any_of(core_.tables->garbage().begin(), core_.tables->garbage().end(),
                         [&](const auto& item) { return item.second.since_seconds + grace <= core_.ran_seconds(); });
    };
    if (!settled()) {
      shipper_.hurry();
      if (auto r = committer_.commit(); !r) return r;
      // Bounded: nodes that are away do not come back because somebody waits.
      if (!core_.changed.wait(core_.seams.runtime, core_.seams.clock.now() + object_wait, stop, settled)) {
        if (stop.stop_requested()) return fail(Code::cancelled, "gc was interrupted");
        return fail(Code::too_few_nodes, "some segments cannot be brought to nodes now, so that their space stays in use", "see `atoll status` for the nodes");
      }
      continue;
    }
    if (worked && !candidates(true).empty()) continue;
    // Somebody else's state may rest on anything until all nodes that are there were asked.
    const auto asked = [&] { return publisher_->garbage_may_go() || publisher_->fork_stands(); };
    if (due_left() && !core_.changed.wait(core_.seams.runtime, core_.seams.clock.now() + object_wait, stop, asked)) {
      if (stop.stop_requested()) return fail(Code::cancelled, "gc was interrupted");
      return fail(Code::too_few_nodes, "a node that is there does not say what it holds of the drive's heads, which may need what would be removed", "see `atoll status` for the nodes");
    }
    if (publisher_->fork_stands() && due_left())
      return fail(Code::fenced, "an earlier owner of the drive told nodes of changes that this computer does not have, which may rest on what would be removed",
                  "bring them here with `atoll mount --take-over` on that computer, or give them up with it on this one");
    // Garbage that comes up while the nodes are told of the rest needs a second head.
    const auto remove_due = [&]() -> Result<> {
      if (auto swept = sweeper_.sweep(); !swept) return swept;
      if (auto removed = remove_objects(true); !removed) return fail(removed.error());
      return {};
    };
    for (int round = 0; round < garbage_rounds_max && due_left(); ++round) {
      if (auto seen = remove_due(); !seen) return seen;
      if (!due_left()) break;
      if (auto told = await_head(stop); !told) return told;
      if (auto removed = remove_due(); !removed) return removed;
    }
    if (due_left()) return fail(Code::too_few_nodes, "some nodes that hold garbage cannot be reached", "see `atoll status` for the nodes");
    if (auto condensed = publisher_->condense(core_.seams.clock.now() + object_wait, stop); !condensed) return condensed;
    return committer_.commit();
  }
}

}  // namespace atl
