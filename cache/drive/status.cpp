// What the drive says about itself, and the waits for what it promised.
#include <algorithm>

#include "cache/drive/drive_impl.h"
#include "cache/drive/fenced_note.h"
#include "cache/drive/label_survival.h"
#include "cache/drive/paths.h"

namespace atl {
namespace {

/// Bytes that the objects of a segment take on nodes, as many as are placed.
std::uint64_t object_bytes(std::uint64_t segment_bytes, std::uint8_t k, std::uint8_t n, std::size_t placed) {
  if (k == 0) return 0;
  return ShardGeometry::of({k, n}, segment_bytes).object_bytes() * placed;
}

struct Tally {
  std::uint64_t staged_bytes = 0;
  std::uint64_t stored_bytes = 0;
  std::uint64_t garbage_bytes = 0;
  Protection worst = Protection::full;
  std::optional<std::int64_t> oldest_unprotected;  // wall seconds
  int margin = 255;                                // least placed-and-present shards over k
  bool any_segment = false;
};

Tally tally(const std::map<SegmentId, SegmentRow>& segments, const std::map<AttemptId, GarbageRow>& garbage, const VolumeRow& volume,
            const std::set<NodeId>& lost) {
  Tally t;
  for (const auto& [id, row] : segments) {
    if (row.live_extents == 0) {
      t.garbage_bytes += object_bytes(row.bytes - segment_header_bytes, row.k, row.n, row.placed.size());
      continue;
    }
    t.any_segment = true;
    t.stored_bytes += object_bytes(row.bytes - segment_header_bytes, row.k, row.n, row.placed.size());
    Protection protection = Protection::none;
    if (row.has_attempt && row.placed.size() >= row.n) {
      protection = Protection::full;
    } else if (volume.is_protected(row)) {
      protection = Protection::protected_;
    } else if (row.has_attempt && row.placed.size() >= row.k) {
      protection = Protection::reduced;
    }
    if (protection != Protection::full) t.staged_bytes += row.bytes;
    t.worst = std::min(t.worst, protection);
    if (protection < Protection::protected_) {
      const std::int64_t since = row.finished ? row.finished_at.seconds : 0;
      if (since != 0) t.oldest_unprotected = std::min(t.oldest_unprotected.value_or(since), since);
    }
    const auto present = std::count_if(row.placed.begin(), row.placed.end(), [&](const ShardHome& home) { return !lost.contains(home.node); });
    t.margin = std::min(t.margin, static_cast<int>(present) - static_cast<int>(row.k));
  }
  for (const auto& [attempt, row] : garbage) t.garbage_bytes += object_bytes(row.bytes - segment_header_bytes, row.k, row.n, row.placed.size());
  return t;
}

Survival survival(const Tally& t, std::size_t nodes, std::uint64_t only_here, std::vector<LabelSurvival> labels) {
  Survival s;
  s.of = static_cast<std::uint32_t>(nodes);
  if (!t.any_segment) {
    s.text = only_here == 0 ? "nothing is stored yet" : human_bytes(only_here) + " exist only on this computer";
    return s;
  }
  if (t.margin < 0 || t.worst == Protection::none) {
    s.text = only_here > 0 ? human_bytes(only_here) + " exist only on this computer" : "too few nodes are present to read everything";
    return s;
  }
  s.any = static_cast<std::uint32_t>(t.margin);
  s.text = s.any == 0 ? "no node may be lost now" : "any " + std::to_string(s.any) + " of " + std::to_string(nodes) + " nodes may be lost";
  s.labels = std::move(labels);
  if (const std::string text = labels_text(s.labels); !text.empty()) s.text += (text.starts_with("not") ? ", but " : ", or ") + text;
  if (only_here > 0) s.text += "; " + human_bytes(only_here) + " are not on all nodes yet";
  return s;
}

}  // namespace

Result<DriveStatus> Drive::peek(Disk& disk, const std::string& directory) {
  auto there = disk.exists(index_path(directory));
  if (!there) return fail(there.error());
  DriveStatus status;
  auto note = read_fenced_note(disk, directory);
  if (!note && note.error().code != Code::corrupt) return fail(note.error());
  if (note && *note) {
    status.state = DriveState::fenced;
    status.trouble = fenced_error((*note)->epoch, directory).what;
    status.untold = (*note)->untold;
  }
  if (!*there) return status;  // never mounted: its journal says all, and nobody folded it yet
  auto index = IndexStore::open_read_only(disk, index_path(directory));
  if (!index) return fail(index.error());
  try {
    const VolumeRow volume = (*index)->volume();
    std::map<SegmentId, SegmentRow> segments;
    for (auto& [id, row] : (*index)->segments()) segments.emplace(id, std::move(row));
    std::map<AttemptId, GarbageRow> garbage;
    for (auto& [id, row] : (*index)->garbage()) garbage.emplace(id, std::move(row));
    const Tally t = tally(segments, garbage, volume, {});
    status.redundancy = {volume.k, volume.n};
    status.protect_min = volume.protect_min;
    status.protection = t.worst;
    status.staged_bytes = t.staged_bytes;
    status.stored_bytes = t.stored_bytes;
    status.garbage_bytes = t.garbage_bytes;
    status.logical_bytes = volume.mapped_bytes;
    status.files = volume.files;
    status.idle = t.staged_bytes == 0;
    status.applied_lsn = status.durable_lsn = (*index)->applied().value;
    for (NodeSpec& spec : (*index)->nodes()) {
      NodeStatus node;
      node.spec = std::move(spec);
      status.nodes.push_back(std::move(node));
    }
    status.survives = survival(t, status.nodes.size(), t.staged_bytes, survive_labels(segments, status.nodes, {}));
  } catch (const IndexFailure& failure) {
    return fail(failure.error());
  }
  return status;
}

DriveStatus DriveImpl::status() {
  DriveStatus status;
  Engine* engine = core_->engine.load();
  std::set<NodeId> lost;
  bool any_node = false;
  if (engine != nullptr) {
    status.nodes = engine->nodes();
    for (const NodeStatus& node : status.nodes) {
      const bool gone = node.state == NodeState::absent || node.state == NodeState::lying;
      if (gone) lost.insert(node.spec.id);
      any_node |= !gone;
    }
  }
  const bool open_bytes = core_->writer->has_open_bytes();
  const bool shipping = shipper_.busy();
  const Publisher::Standing standing = publisher_.standing();
  for (NodeStatus& node : status.nodes) {
    const auto stale = standing.stale.find(node.spec.id);
    if (stale == standing.stale.end() || (node.state != NodeState::ok && node.state != NodeState::slow)) continue;
    node.state = NodeState::stale;
    node.last_error = stale->second;
  }
  const auto usage = core_->segments->usage();
  std::lock_guard lock(core_->mutex);
  const Tables& tables = *core_->tables;
  if (engine == nullptr) {
    for (const auto& [id, spec] : tables.nodes()) {
      NodeStatus node;
      node.spec = spec;
      status.nodes.push_back(std::move(node));
    }
  }
  const VolumeRow& volume = tables.volume();
  const Tally t = tally(tables.segments(), tables.garbage(), volume, lost);
  status.redundancy = {volume.k, volume.n};
  status.protect_min = volume.protect_min;
  std::uint64_t dirty = core_->dirty.bytes();
  for (const auto& [extent, bytes] : core_->sealing) dirty += bytes->size();
  status.protection = dirty > 0 ? Protection::none : t.worst;
  status.staged_bytes = t.staged_bytes + dirty;
  status.stored_bytes = t.stored_bytes;
  status.garbage_bytes = t.garbage_bytes;
  status.cache_bytes = usage.cached_bytes;
  status.logical_bytes = volume.mapped_bytes + dirty;
  status.files = volume.files;
  status.durable_lsn = core_->durable_lsn.value;
  status.applied_lsn = core_->durable_lsn.value;
  if (t.oldest_unprotected) {
    const std::int64_t age = core_->seams.clock.wall_now().seconds - *t.oldest_unprotected;
    status.oldest_unprotected_seconds = age > 0 ? static_cast<std::uint64_t>(age) : 0;
  }
  const bool told = core_->published_lsn.load() >= core_->telling_lsn;
  if (!told) {
    // Shards whose journal is only here are of no use without this computer.
    status.protection = std::min(status.protection, Protection::reduced);
    const MonotonicTime since = publisher_.unshipped_since();
    status.journal_unshipped_seconds = static_cast<std::uint64_t>(
        std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::seconds>(core_->seams.clock.now() - since).count()));
  }
  if (!publisher_.tells_full(core_->telling_lsn, core_->placed_lsn)) status.protection = std::min(status.protection, Protection::protected_);
  status.epoch = standing.epoch;
  status.generation = standing.generation;
  status.metadata_requests = standing.requests;
  status.idle = dirty == 0 && core_->records.empty() && !open_bytes && !shipping && t.worst == Protection::full && told;
  if (core_->fenced) {
    status.state = DriveState::fenced;
    status.trouble = core_->fenced->what;
    status.untold = core_->untold;
  } else if (core_->trouble) {
    status.state = DriveState::read_only;
    status.trouble = core_->trouble->what;
  } else if (core_->closing) {
    status.state = DriveState::stopping;
  } else if (core_->options.read_only) {
    status.state = DriveState::read_only;
  } else {
    status.state = any_node ? DriveState::ready : DriveState::offline;
  }
  status.survives = survival(t, status.nodes.size(), status.staged_bytes, survive_labels(tables.segments(), status.nodes, lost));
  if (engine != nullptr) {
    const EngineCounters c = engine->counters();
    status.counters = {{"node_reads", c.node_reads},         {"node_read_bytes", c.node_read_bytes}, {"node_writes", c.node_writes},
                       {"node_write_bytes", c.node_write_bytes}, {"node_removes", c.node_removes},   {"node_errors", c.node_errors},
                       {"bad_shards", c.bad_shards},         {"hedged_reads", c.hedged_reads}};
  }
  const DriveCounters& d = core_->counters;
  status.counters["commits"] = d.commits;
  status.counters["staged_reads"] = d.staged_reads;
  status.counters["node_extents"] = d.node_extents;
  status.counters["rebuilt_leaves"] = d.rebuilt_leaves;
  status.counters["healed_extents"] = d.healed_extents;
  status.counters["segments_shipped"] = d.segments_shipped;
  status.counters["segments_compacted"] = d.segments_compacted;
  status.counters["objects_removed"] = d.objects_removed;
  status.counters["shards_rebuilt"] = d.shards_rebuilt;
  status.counters["shards_moved"] = d.shards_moved;
  status.counters["care_read_bytes"] = d.care_read_bytes;
  status.counters["care_written_bytes"] = d.care_written_bytes;
  status.counters["shards_balanced"] = d.shards_balanced;
  status.counters["balance_bytes"] = d.balance_bytes;
  status.counters["audits"] = d.audits;
  status.counters["audits_wrong"] = d.audits_wrong;
  status.counters["forks_seen"] = d.forks_seen;
  status.counters["claims_contested"] = standing.contested ? 1 : 0;
  return status;
}

SpaceUsage DriveImpl::space() {
  SpaceUsage space;
  Engine* engine = core_->engine.load();
  const std::vector<NodeStatus> nodes = engine != nullptr ? engine->nodes() : std::vector<NodeStatus>{};
  Redundancy redundancy;
  std::uint64_t used = 0;
  {
    std::lock_guard lock(core_->mutex);
    const VolumeRow& volume = core_->tables->volume();
    redundancy = {volume.k, volume.n};
    used = volume.mapped_bytes + core_->dirty.bytes();
    space.files = volume.files;
  }
  // Nodes that share a file system share its space: it counts once.
  std::map<std::uint64_t, std::uint64_t> free_by_device;
  std::uint64_t free = 0;
  for (const NodeStatus& node : nodes) {
    if (node.state == NodeState::absent) continue;
    if (node.device != 0) {
      free_by_device[node.device] = node.free_bytes;
    } else {
      free += node.free_bytes;
    }
  }
  for (const auto& [device, bytes] : free_by_device) free += bytes;
  if (redundancy.n > 0) free = free / redundancy.n * redundancy.k;
  if (nodes.empty() || free == 0) {
    // Offline: what staging still takes.
    const std::uint64_t staged = core_->segments->usage().staged_bytes;
    free = core_->options.staging_max > staged ? core_->options.staging_max - staged : 0;
  }
  space.free_bytes = free;
  space.capacity_bytes = free + used;
  return space;
}

Result<> DriveImpl::sync(SyncLevel level, std::optional<MonotonicTime> deadline, const std::function<void(const SyncProgress&)>& progress,
                         std::stop_token stop) {
  if (auto r = committer_.commit(); !r) return r;
  if (level == SyncLevel::local) return {};
  if (core_->engine.load() == nullptr) return fail(Code::unavailable, "the drive is offline");
  if (core_->options.read_only) return fail(Code::read_only, "the drive is mounted read-only: it ships nothing");
  SyncProgress last;
  std::optional<Error> hopeless;
  // Nodes that came back a moment ago are noticed by the next probe: they get the time of two before sync gives up.
  const MonotonicTime patient_until = core_->seams.clock.now() + 2 * EngineOptions{}.probe_interval;
  // What was accepted so far lies in these segments, or in those that rewriting moves it to.
  shipper_.hurry();
  publisher_.hurry();
  Lsn telling;
  {
    std::lock_guard lock(core_->mutex);
    telling = core_->telling_lsn;
  }
  const SegmentId cutoff = core_->writer->next();
  std::optional<Lsn> placed;  // up to where shards lay when all was seen to be full: the nodes are to be told
  const auto reached = [&] {
    SyncProgress now;
    std::size_t needed = 0;
    bool all = true;
    bool just_full = false;
    {
      std::lock_guard lock(core_->mutex);
      if (core_->trouble) {
        hopeless = *core_->trouble;
        return true;
      }
      if (core_->fenced) {
        hopeless = *core_->fenced;
        return true;
      }
      const VolumeRow& volume = core_->tables->volume();
      needed = level == SyncLevel::full ? volume.n : volume.protect_min;
      for (const auto& [id, row] : core_->tables->segments()) {
        if (row.live_extents == 0 || id >= std::max(cutoff, reclaimer_.barrier())) continue;
        now.bytes_total += row.bytes;
        if (level == SyncLevel::full ? row.full() : volume.is_protected(row)) {
          now.bytes_done += row.bytes;
        } else {
          all = false;
        }
      }
      if (all && level == SyncLevel::full && !placed) {
        placed = core_->placed_lsn;
        just_full = true;
      }
    }
    if (just_full) publisher_.hurry();
    if (progress && (now.bytes_done != last.bytes_done || now.bytes_total != last.bytes_total)) progress(now);
    last = now;
    const auto nodes = core_->engine.load()->nodes();
    if (all) {
      // Without the journal that names them, shards would be of no use to another computer.
      if (level == SyncLevel::full ? publisher_.tells_full(telling, placed.value_or(Lsn{})) : core_->published_lsn.load() >= telling) return true;
      needed = publisher_.nodes_needed(nodes.size(), level);
    }
    const auto present = std::count_if(nodes.begin(), nodes.end(), [](const NodeStatus& node) {
      return node.state != NodeState::absent && node.state != NodeState::lying && node.state != NodeState::full;
    });
    if (static_cast<std::size_t>(present) < needed && !shipper_.busy() && core_->seams.clock.now() >= patient_until) {
      hopeless = Error(Code::too_few_nodes,
                       "only " + std::to_string(present) + " of the " + std::to_string(needed) + " nodes that this needs can be reached; what was saved is safe on this computer",
                       "bring nodes back (see `atoll status`); uploading goes on by itself");
      return true;
    }
    return false;
  };
  // Nothing changes while nodes stay away: look again when patience ends.
  tasks_.after(patient_until - core_->seams.clock.now(), [this] { core_->changed.wake(); });
  if (!core_->changed.wait(core_->seams.runtime, deadline, stop, reached)) {
    if (stop.stop_requested()) return fail(Code::cancelled, "sync was interrupted");
    return fail(Code::timed_out, human_bytes(last.bytes_total - last.bytes_done) + " are not yet " + (level == SyncLevel::full ? "full" : "protected"),
                "uploading goes on; see `atoll status`");
  }
  if (hopeless) return fail(*hopeless);
  return committer_.commit();
}

Result<std::uint64_t> DriveImpl::drop_cache() {
  // Placements that are not durable yet keep their staged copies: commit, so that as much as possible can go.
  if (auto r = committer_.commit(); !r) return fail(r.error());
  reader_.forget_cached();
  return core_->segments->shrink_cache(0);
}

Result<> DriveImpl::collect_garbage(bool wait, std::stop_token stop) {
  if (core_->engine.load() == nullptr || core_->options.read_only) return fail(Code::read_only, "a drive that is offline or read-only reclaims nothing");
  return reclaimer_.collect(wait, stop);
}

Result<Bytes> DriveImpl::digest() {
  if (auto r = committer_.commit(); !r) return fail(r.error());
  if (auto r = committer_.apply(); !r) return fail(r.error());
  return locked([&] { return core_->index->digest(); });
}

}  // namespace atl
