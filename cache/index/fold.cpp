#include "cache/index/fold.h"

#include <sys/stat.h>

#include <algorithm>
#include <optional>

#include "cache/index/file_map.h"
#include "cache/staging/segment_store.h"
#include "engine/base/mutant.h"

namespace atl {
namespace {

bool is_directory(std::uint32_t mode) { return (mode & S_IFMT) == S_IFDIR; }

/// Applies one record to the tables. Each overload returns false if the record contradicts the state.
class Folder {
 public:
  explicit Folder(Tables& tables) : tables_(tables) {}

  bool operator()(const VolumeMade& r) {
    VolumeRow& volume = tables_.change_volume();
    volume.volume = r.volume;
    InodeRow root;
    root.mode = S_IFDIR | 0755;
    root.uid = r.uid;
    root.gid = r.gid;
    root.links = 2;
    root.parent = InodeNumber(1);
    root.atime = root.mtime = root.ctime = r.time;
    volume.files = 1;
    tables_.put_inode(InodeNumber(1), root);
    return true;
  }

  bool operator()(const RedundancySet& r) {
    if (r.k == 0 || r.k > r.n || r.protect_min < r.k || r.protect_min > r.n) return false;
    VolumeRow& volume = tables_.change_volume();
    // Segments of before are protected as they were promised to be.
    if (volume.k != 0) volume.earlier[{volume.k, volume.n}] = volume.protect_min;
    volume.earlier.erase({r.k, r.n});
    volume.k = r.k;
    volume.n = r.n;
    volume.protect_min = r.protect_min;
    return true;
  }

  bool operator()(const NodeAdded& r) {
    tables_.put_node(r.spec);
    return true;
  }

  bool operator()(const InodeMade& r) {
    auto parent = directory(r.parent);
    if (!parent || tables_.inode(r.inode) || tables_.entry({r.parent, r.name})) return false;
    InodeRow row;
    row.mode = r.mode;
    row.uid = r.uid;
    row.gid = r.gid;
    row.device = r.device;
    row.target = r.target;
    row.size = r.target.size();
    row.links = is_directory(r.mode) ? 2 : 1;
    row.parent = is_directory(r.mode) ? r.parent : InodeNumber{};
    row.has_xattrs = !r.xattrs.empty();
    row.atime = row.mtime = row.ctime = r.time;
    tables_.put_inode(r.inode, row);
    if (row.has_xattrs) {
      XattrsRow xattrs;
      for (const auto& [name, value] : r.xattrs) xattrs.values[name] = value;
      tables_.put_xattrs(r.inode, std::move(xattrs));
    }
    tables_.put_entry({r.parent, r.name}, {r.inode, r.mode & S_IFMT, r.cookie});
    add_entry(*parent, r.time, is_directory(r.mode));
    tables_.put_inode(r.parent, std::move(*parent));
    VolumeRow& volume = tables_.change_volume();
    volume.next_inode = std::max(volume.next_inode, r.inode.value + 1);
    saw_cookie(r.cookie);
    ++volume.files;
    return true;
  }

  bool operator()(const Linked& r) {
    auto parent = directory(r.parent);
    const auto inode = tables_.inode(r.inode);
    if (!parent || !inode || is_directory(inode->mode) || tables_.entry({r.parent, r.name})) return false;
    InodeRow row = *inode;
    if (row.links == 0) tables_.change_orphans().erase(r.inode);
    ++row.links;
    row.ctime = r.time;
    tables_.put_inode(r.inode, std::move(row));
    tables_.put_entry({r.parent, r.name}, {r.inode, inode->mode & S_IFMT, r.cookie});
    add_entry(*parent, r.time, false);
    tables_.put_inode(r.parent, std::move(*parent));
    saw_cookie(r.cookie);
    return true;
  }

  bool operator()(const Unlinked& r) {
    auto parent = directory(r.parent);
    const auto entry = tables_.entry({r.parent, r.name});
    if (!parent || !entry || entry->inode != r.inode) return false;
    tables_.cut_entry({r.parent, r.name});
    cut_entry(*parent, r.time, entry->type == S_IFDIR);
    tables_.put_inode(r.parent, std::move(*parent));
    return lose_name(r.inode, r.time);
  }

  bool operator()(const Renamed& r) {
    const EntryKey from_key{r.from, r.from_name}, to_key{r.to, r.to_name};
    const auto from_entry = tables_.entry(from_key);
    const auto to_entry = tables_.entry(to_key);
    if (!from_entry || from_entry->inode != r.inode) return false;
    if ((to_entry ? to_entry->inode : InodeNumber{}) != r.replaced) return false;
    const bool moves_directory = from_entry->type == S_IFDIR;
    if (r.exchange) {
      if (!to_entry) return false;
      const bool other_directory = to_entry->type == S_IFDIR;
      // Names keep their cookies: a listing under way sees each name once, with the old or the new inode.
      tables_.put_entry(from_key, {to_entry->inode, to_entry->type, from_entry->cookie});
      tables_.put_entry(to_key, {from_entry->inode, from_entry->type, to_entry->cookie});
      const int shift = (moves_directory ? 1 : 0) - (other_directory ? 1 : 0);
      if (!touch_parents(r, 0, 0, -shift, shift)) return false;
      return moved(r.inode, r.to, r.time) && moved(r.replaced, r.from, r.time);
    }
    tables_.cut_entry(from_key);
    if (to_entry) tables_.cut_entry(to_key);
    tables_.put_entry(to_key, {r.inode, from_entry->type, r.cookie});
    saw_cookie(r.cookie);
    const int lost_directory = to_entry && to_entry->type == S_IFDIR ? 1 : 0;
    const int moved_directory = moves_directory ? 1 : 0;
    if (!touch_parents(r, -1, to_entry ? 0 : 1, -moved_directory, moved_directory - lost_directory)) return false;
    if (to_entry && !lose_name(r.replaced, r.time)) return false;
    return moved(r.inode, r.to, r.time);
  }

  bool operator()(const AttributesSet& r) {
    const auto inode = tables_.inode(r.inode);
    if (!inode) return false;
    InodeRow row = *inode;
    if (r.mask & AttributesSet::mode_bit) row.mode = (row.mode & S_IFMT) | (r.mode & 07777);
    if (r.mask & AttributesSet::uid_bit) row.uid = r.uid;
    if (r.mask & AttributesSet::gid_bit) row.gid = r.gid;
    if (r.mask & AttributesSet::size_bit) {
      if (r.size < row.size) unmap_range(tables_, r.inode, row, r.size, row.size - r.size);
      row.size = r.size;
    }
    if (r.mask & AttributesSet::atime_bit) row.atime = r.atime;
    if (r.mask & AttributesSet::mtime_bit) row.mtime = r.mtime;
    if (r.mask & AttributesSet::ctime_bit) row.ctime = r.ctime;
    tables_.put_inode(r.inode, std::move(row));
    return true;
  }

  bool operator()(const Written& r) {
    const auto inode = tables_.inode(r.inode);
    if (!inode || r.length == 0 || tables_.extent(r.extent)) return false;
    ExtentRow extent;
    extent.segment = r.segment;
    extent.offset = r.segment_offset;
    extent.length = r.length;
    extent.epoch = r.epoch;
    tables_.put_extent(r.extent, extent);
    SegmentRow& segment = tables_.change_segment(r.segment);
    segment.bytes = std::max(segment.bytes, r.segment_offset + frame_bytes(r.length));
    segment.live_bytes += frame_bytes(r.length);
    ++segment.extents;
    ++segment.live_extents;
    VolumeRow& volume = tables_.change_volume();
    volume.next_extent = std::max(volume.next_extent, r.extent.value + 1);
    volume.next_segment = std::max(volume.next_segment, r.segment.value + 1);

    InodeRow row = *inode;
    map_range(tables_, r.inode, row, r.offset, {{r.length, r.extent, 0}});
    row.size = std::max(row.size, r.offset + r.length);
    if (r.time != Timestamp{}) row.mtime = row.ctime = r.time;
    tables_.put_inode(r.inode, std::move(row));
    return true;
  }

  bool operator()(const Shared& r) {
    const auto inode = tables_.inode(r.inode);
    if (!inode) return false;
    std::uint64_t end = r.offset;
    for (const Shared::Piece& piece : r.pieces) {
      if (piece.length == 0) return false;
      if (piece.extent.value != 0) {
        const auto extent = tables_.extent(piece.extent);
        if (!extent || piece.extent_offset + piece.length > extent->length) return false;
      }
      end += piece.length;
    }
    InodeRow row = *inode;
    map_range(tables_, r.inode, row, r.offset, r.pieces);
    row.size = std::max(row.size, end);
    row.mtime = row.ctime = r.time;
    tables_.put_inode(r.inode, std::move(row));
    return true;
  }

  bool operator()(const Punched& r) {
    const auto inode = tables_.inode(r.inode);
    if (!inode) return false;
    InodeRow row = *inode;
    unmap_range(tables_, r.inode, row, r.offset, r.length);
    row.mtime = row.ctime = r.time;
    tables_.put_inode(r.inode, std::move(row));
    return true;
  }

  bool operator()(const XattrSet& r) {
    const auto inode = tables_.inode(r.inode);
    if (!inode) return false;
    InodeRow row = *inode;
    XattrsRow xattrs = row.has_xattrs ? existing_xattrs(r.inode) : XattrsRow{};
    xattrs.values[r.name] = r.value;
    row.has_xattrs = true;
    row.mode = (row.mode & S_IFMT) | (r.mode & 07777);
    row.ctime = r.time;
    tables_.put_xattrs(r.inode, std::move(xattrs));
    tables_.put_inode(r.inode, std::move(row));
    return true;
  }

  bool operator()(const XattrRemoved& r) {
    const auto inode = tables_.inode(r.inode);
    if (!inode || !inode->has_xattrs) return false;
    InodeRow row = *inode;
    XattrsRow xattrs = existing_xattrs(r.inode);
    if (xattrs.values.erase(r.name) == 0) return false;
    row.has_xattrs = !xattrs.values.empty();
    row.ctime = r.time;
    if (row.has_xattrs) {
      tables_.put_xattrs(r.inode, std::move(xattrs));
    } else {
      tables_.cut_xattrs(r.inode);
    }
    tables_.put_inode(r.inode, std::move(row));
    return true;
  }

  bool operator()(const Purged& r) {
    const auto inode = tables_.inode(r.inode);
    if (!inode || inode->links != 0) return false;
    InodeRow row = *inode;
    unmap_range(tables_, r.inode, row, 0, row.size);
    if (row.has_xattrs) tables_.cut_xattrs(r.inode);
    tables_.cut_inode(r.inode);
    tables_.change_orphans().erase(r.inode);
    --tables_.change_volume().files;
    return true;
  }

  bool operator()(const SegmentFinished& r) {
    SegmentRow& segment = tables_.change_segment(r.segment);
    segment.finished = true;
    segment.finished_at = r.time;
    segment.bytes = std::max(segment.bytes, r.bytes);
    VolumeRow& volume = tables_.change_volume();
    volume.next_segment = std::max(volume.next_segment, r.segment.value + 1);
    return true;
  }

  bool operator()(const UploadIntended& r) {
    if (!tables_.segments().contains(r.segment) || r.k == 0 || r.k > r.n) return false;
    SegmentRow& segment = tables_.change_segment(r.segment);
    // What an earlier attempt may have left on nodes is garbage from now on.
    if (segment.has_attempt) discard_attempt(r.segment, segment, tables_.volume().ran_seconds);
    segment.has_attempt = true;
    segment.attempt = r.attempt;
    segment.k = r.k;
    segment.n = r.n;
    segment.placed.clear();
    segment.strays.clear();
    return true;
  }

  bool operator()(const ShardPlaced& r) {
    const auto found = tables_.segments().find(r.segment);
    if (found == tables_.segments().end() || !found->second.has_attempt || found->second.attempt != r.attempt) return true;
    SegmentRow& segment = tables_.change_segment(r.segment);
    if (r.home.shard.value >= segment.n) return false;
    for (const ShardHome& home : segment.placed)
      if (home.shard == r.home.shard) return true;
    segment.placed.insert(std::lower_bound(segment.placed.begin(), segment.placed.end(), r.home), r.home);
    return true;
  }

  bool operator()(const Relocated& r) {
    for (const Relocated::Move& move : r.moves) {
      const auto found = tables_.extent(move.extent);
      if (!found) continue;
      if ((found->segment != r.from || found->offset != move.old_offset) && !mutant("relocated-blindly")) continue;
      ExtentRow extent = *found;
      extent.segment = r.to;
      extent.offset = move.new_offset;
      const std::uint64_t bytes = frame_bytes(extent.length);
      SegmentRow& from = tables_.change_segment(r.from);
      from.live_bytes -= bytes;
      --from.live_extents;
      SegmentRow& to = tables_.change_segment(r.to);
      to.bytes = std::max(to.bytes, move.new_offset + bytes);
      to.live_bytes += bytes;
      ++to.extents;
      ++to.live_extents;
      tables_.put_extent(move.extent, extent);
    }
    VolumeRow& volume = tables_.change_volume();
    volume.next_segment = std::max(volume.next_segment, r.to.value + 1);
    return true;
  }

  bool operator()(const SegmentDropped& r) {
    const auto found = tables_.segments().find(r.segment);
    if (found == tables_.segments().end() || found->second.live_extents != 0) return false;
    if (found->second.has_attempt) discard_attempt(r.segment, found->second, r.running_seconds);
    tables_.cut_segment(r.segment);
    return true;
  }

  bool operator()(const GarbageRemoved& r) {
    tables_.cut_garbage(r.attempt);
    return true;
  }

  bool operator()(const AttemptLeft& r) {
    if (r.k == 0 || r.k > r.n) return false;
    if (tables_.garbage().contains(r.attempt)) return true;
    GarbageRow garbage;
    garbage.segment = r.segment;
    garbage.k = r.k;
    garbage.n = r.n;
    garbage.bytes = r.bytes;
    garbage.since_seconds = r.running_seconds;
    tables_.put_garbage(r.attempt, std::move(garbage));
    return true;
  }

  bool operator()(const RanFor& r) {
    VolumeRow& volume = tables_.change_volume();
    volume.ran_seconds = std::max(volume.ran_seconds, r.seconds);
    return true;
  }

  bool operator()(const ShardMoving& r) {
    SegmentRow* segment = of_attempt(r.segment, r.attempt);
    if (segment == nullptr) return true;
    if (r.home.shard.value >= segment->n) return false;
    if (std::find(segment->placed.begin(), segment->placed.end(), r.home) != segment->placed.end()) return true;
    put_stray(*segment, r.home, r.running_seconds);
    return true;
  }

  bool operator()(const ShardMoved& r) {
    SegmentRow* segment = of_attempt(r.segment, r.attempt);
    if (segment == nullptr) return true;
    if (r.shard.value >= segment->n || r.from == r.to) return false;
    const auto old = std::find(segment->placed.begin(), segment->placed.end(), ShardHome{r.shard, r.from});
    const bool taken = std::any_of(segment->placed.begin(), segment->placed.end(), [&](const ShardHome& home) { return home.node == r.to; });
    if (old == segment->placed.end() || (taken && !mutant("two-shards-one-node"))) return true;
    old->node = r.to;  // sorted by shard, of which there is one each
    std::erase_if(segment->strays, [&](const Stray& stray) { return stray.home == ShardHome{r.shard, r.to}; });
    put_stray(*segment, {r.shard, r.from}, r.running_seconds);
    return true;
  }

  bool operator()(const StrayRemoved& r) {
    if (SegmentRow* segment = of_attempt(r.segment, r.attempt))
      std::erase_if(segment->strays, [&](const Stray& stray) { return stray.home == r.home; });
    return true;
  }

  bool operator()(const NodeLeaving& r) {
    if (!tables_.nodes().contains(r.node)) return false;
    VolumeRow& volume = tables_.change_volume();
    if (r.leaving) {
      volume.leaving.insert(r.node);
    } else {
      volume.leaving.erase(r.node);
    }
    return true;
  }

  bool operator()(const NodeRemoved& r) {
    if (!tables_.nodes().contains(r.node)) return false;
    const auto there = [&](const ShardHome& home) { return home.node == r.node; };
    const auto stray_there = [&](const Stray& stray) { return there(stray.home); };
    std::vector<SegmentId> touched;
    for (const auto& [id, row] : tables_.segments())
      if (std::any_of(row.placed.begin(), row.placed.end(), there) || std::any_of(row.strays.begin(), row.strays.end(), stray_there))
        touched.push_back(id);
    for (const SegmentId id : touched) {
      SegmentRow& row = tables_.change_segment(id);
      if (!mutant("removed-node-keeps-places")) std::erase_if(row.placed, there);
      std::erase_if(row.strays, stray_there);
    }
    std::vector<std::pair<AttemptId, GarbageRow>> garbage;
    for (const auto& [attempt, row] : tables_.garbage())
      if (std::any_of(row.placed.begin(), row.placed.end(), there)) garbage.emplace_back(attempt, row);
    for (auto& [attempt, row] : garbage) {
      std::erase_if(row.placed, there);
      tables_.put_garbage(attempt, std::move(row));
    }
    tables_.change_volume().leaving.erase(r.node);
    tables_.cut_node(r.node);
    return true;
  }

 private:
  /// The segment, for a change, if that is its attempt now.
  SegmentRow* of_attempt(SegmentId id, const AttemptId& attempt) {
    const auto found = tables_.segments().find(id);
    if (found == tables_.segments().end() || !found->second.has_attempt) return nullptr;
    if (found->second.attempt != attempt && !mutant("attempt-ignored")) return nullptr;
    return &tables_.change_segment(id);
  }

  static void put_stray(SegmentRow& segment, const ShardHome& home, std::uint64_t since_seconds) {
    const auto at = std::lower_bound(segment.strays.begin(), segment.strays.end(), home,
                                     [](const Stray& stray, const ShardHome& place) { return stray.home < place; });
    if (at != segment.strays.end() && at->home == home) {
      at->since_seconds = since_seconds;
    } else {
      segment.strays.insert(at, Stray{home, since_seconds});
    }
  }

  XattrsRow existing_xattrs(InodeNumber inode) {
    const auto row = tables_.xattrs(inode);
    if (!row) throw IndexFailure(Error(Code::corrupt, "the index lacks the attributes of inode " + std::to_string(inode.value)));
    return *row;
  }

  std::optional<InodeRow> directory(InodeNumber inode) {
    const auto row = tables_.inode(inode);
    if (!row || !is_directory(row->mode)) return std::nullopt;
    return *row;
  }

  static void add_entry(InodeRow& parent, const Timestamp& time, bool child_is_directory) {
    ++parent.entries;
    if (child_is_directory) ++parent.links;
    parent.mtime = parent.ctime = time;
  }

  static void cut_entry(InodeRow& parent, const Timestamp& time, bool child_is_directory) {
    --parent.entries;
    if (child_is_directory) --parent.links;
    parent.mtime = parent.ctime = time;
  }

  /// One name fewer; without any the inode waits for its purge.
  bool lose_name(InodeNumber inode, const Timestamp& time) {
    const auto found = tables_.inode(inode);
    if (!found) return false;
    InodeRow row = *found;
    if (is_directory(row.mode)) {
      if (row.entries != 0) return false;
      row.links = 0;
    } else {
      if (row.links == 0) return false;
      --row.links;
    }
    row.ctime = time;
    if (row.links == 0) tables_.change_orphans().insert(inode);
    tables_.put_inode(inode, std::move(row));
    return true;
  }

  /// Counts and times of the directories of a rename, which may be one and the same.
  bool touch_parents(const Renamed& r, int from_entries, int to_entries, int from_links, int to_links) {
    auto from = directory(r.from);
    if (!from) return false;
    if (r.from == r.to) {
      adjust(*from, from_entries + to_entries, from_links + to_links, r.time);
      tables_.put_inode(r.from, std::move(*from));
      return true;
    }
    auto to = directory(r.to);
    if (!to) return false;
    adjust(*from, from_entries, from_links, r.time);
    adjust(*to, to_entries, to_links, r.time);
    tables_.put_inode(r.from, std::move(*from));
    tables_.put_inode(r.to, std::move(*to));
    return true;
  }

  static void adjust(InodeRow& row, int entries, int links, const Timestamp& time) {
    row.entries += static_cast<std::uint64_t>(entries);
    row.links += static_cast<std::uint32_t>(links);
    row.mtime = row.ctime = time;
  }

  bool moved(InodeNumber inode, InodeNumber parent, const Timestamp& time) {
    const auto found = tables_.inode(inode);
    if (!found) return false;
    InodeRow row = *found;
    row.ctime = time;
    if (is_directory(row.mode)) row.parent = parent;
    tables_.put_inode(inode, std::move(row));
    return true;
  }

  void saw_cookie(std::uint64_t cookie) {
    VolumeRow& volume = tables_.change_volume();
    volume.next_cookie = std::max(volume.next_cookie, cookie + 1);
  }

  void discard_attempt(SegmentId id, const SegmentRow& segment, std::uint64_t since_seconds) {
    GarbageRow garbage;
    garbage.segment = id;
    garbage.k = segment.k;
    garbage.n = segment.n;
    garbage.bytes = segment.bytes;
    garbage.since_seconds = since_seconds;
    garbage.placed = segment.placed;
    tables_.put_garbage(segment.attempt, std::move(garbage));
  }

  Tables& tables_;
};

}  // namespace

Result<> fold(const Record& record, Tables& tables) {
  if (!std::visit(Folder(tables), record)) {
    return fail(Code::corrupt, "a journal record contradicts the drive's state: " + describe(record));
  }
  return {};
}

std::vector<MapPiece> pieces_in(Tables& tables, InodeNumber inode, std::uint64_t offset, std::uint64_t length) {
  std::vector<MapPiece> found;
  if (length == 0) return found;
  const std::uint64_t end = offset + length;
  for (std::uint64_t window : tables.windows(inode, offset / window_bytes, (end - 1) / window_bytes)) {
    const auto row = tables.window({inode, window});
    if (!row) continue;
    auto it = std::partition_point(row->pieces.begin(), row->pieces.end(),
                                   [&](const MapPiece& piece) { return piece.end() <= offset; });
    for (; it != row->pieces.end() && it->offset < end; ++it) {
      MapPiece piece = *it;
      if (piece.offset < offset) {
        const std::uint64_t cut = offset - piece.offset;
        piece.offset += cut;
        piece.length -= cut;
        piece.extent_offset += static_cast<std::uint32_t>(cut);
      }
      piece.length = std::min(piece.length, end - piece.offset);
      found.push_back(piece);
    }
  }
  return found;
}

}  // namespace atl
