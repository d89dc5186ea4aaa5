#include "cache/index/tables.h"

#include <algorithm>

namespace atl {
namespace {

constexpr std::size_t inode_weight_max = 96u << 20;
constexpr std::size_t entry_weight_max = 96u << 20;
constexpr std::size_t xattr_weight_max = 16u << 20;
constexpr std::size_t window_weight_max = 64u << 20;
constexpr std::size_t extent_weight_max = 64u << 20;

template <typename Table, typename Key, typename Load>
auto find_or_load(Table& table, const Key& key, Load load) {
  auto [known, row] = table.find(key);
  if (!known) {
    row = load(key);
    table.learn(key, row);
  }
  return row;
}

}  // namespace

Tables::Tables(IndexStore& store)
    : store_(store),
      inodes_(inode_weight_max),
      entries_(entry_weight_max),
      xattrs_(xattr_weight_max),
      windows_(window_weight_max),
      extents_(extent_weight_max) {
  for (auto& [id, row] : store_.segments()) segments_.emplace(id, std::move(row));
  for (auto& [id, row] : store_.garbage()) garbage_.emplace(id, std::move(row));
  for (NodeSpec& node : store_.nodes()) nodes_.emplace(node.id, std::move(node));
  volume_ = store_.volume();
  for (InodeNumber inode : store_.orphans()) orphans_.insert(inode);
}

std::shared_ptr<const InodeRow> Tables::inode(InodeNumber inode) {
  return find_or_load(inodes_, inode, [this](InodeNumber key) { return store_.inode(key); });
}

std::shared_ptr<const EntryRow> Tables::entry(const EntryKey& key) {
  return find_or_load(entries_, key, [this](const EntryKey& k) { return store_.entry(k); });
}

std::shared_ptr<const XattrsRow> Tables::xattrs(InodeNumber inode) {
  return find_or_load(xattrs_, inode, [this](InodeNumber key) { return store_.xattrs(key); });
}

std::shared_ptr<const WindowRow> Tables::window(const WindowKey& key) {
  return find_or_load(windows_, key, [this](const WindowKey& k) { return store_.window(k); });
}

std::shared_ptr<const ExtentRow> Tables::extent(ExtentId extent) {
  return find_or_load(extents_, extent, [this](ExtentId key) { return store_.extent(key); });
}

std::vector<ListedEntry> Tables::list(InodeNumber parent, std::uint64_t after, std::size_t limit) {
  for (;;) {
    auto [entries, examined, ended] = list_once(parent, after, limit);
    // Everything that the index listed may be gone since: go on behind it.
    if (!entries.empty() || ended) return std::move(entries);
    after = examined;
  }
}

Tables::Listing Tables::list_once(InodeNumber parent, std::uint64_t after, std::size_t limit) {
  std::vector<ListedEntry> stored = store_.list(parent, after, limit);
  const bool stored_ended = stored.size() < limit;
  const std::uint64_t stored_last = stored.empty() ? after : stored.back().row.cookie;
  // What was renamed, replaced or removed since is not as the index says.
  std::erase_if(stored, [&](const ListedEntry& entry) {
    const auto [known, row] = entries_.find(EntryKey{parent, entry.name});
    return known && (row == nullptr || row->cookie != entry.row.cookie);
  });
  for (ListedEntry& entry : stored) {
    if (const auto [known, row] = entries_.find(EntryKey{parent, entry.name}); known) entry.row = *row;
  }
  const auto fresh = fresh_entries_.find(parent);
  if (fresh == fresh_entries_.end()) return {std::move(stored), stored_last, stored_ended};

  std::vector<ListedEntry> merged;
  std::size_t next_stored = 0;
  auto next_fresh = fresh->second.upper_bound(after);
  while (merged.size() < limit) {
    const bool have_stored = next_stored < stored.size();
    const bool have_fresh = next_fresh != fresh->second.end() && (stored_ended || next_fresh->first <= stored_last);
    if (!have_stored && !have_fresh) break;
    if (have_stored && (!have_fresh || stored[next_stored].row.cookie <= next_fresh->first)) {
      if (have_fresh && stored[next_stored].row.cookie == next_fresh->first) ++next_fresh;  // applied a moment ago
      merged.push_back(std::move(stored[next_stored++]));
    } else {
      const auto [known, row] = entries_.find(EntryKey{parent, next_fresh->second});
      if (known && row != nullptr && row->cookie == next_fresh->first) merged.push_back({next_fresh->second, *row});
      ++next_fresh;
    }
  }
  return {std::move(merged), stored_last, stored_ended};
}

std::vector<std::uint64_t> Tables::windows(InodeNumber inode, std::uint64_t first, std::uint64_t last) {
  std::vector<std::uint64_t> found;
  if (last - first < 8) {  // asking for each is cheaper than a scan
    for (std::uint64_t window = first; window <= last; ++window) found.push_back(window);
    return found;
  }
  found = store_.windows(inode, first, last);
  if (const auto fresh = fresh_windows_.find(inode); fresh != fresh_windows_.end()) {
    for (auto it = fresh->second.lower_bound(first); it != fresh->second.end() && *it <= last; ++it) found.push_back(*it);
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
  }
  return found;
}

void Tables::put_entry(const EntryKey& key, const EntryRow& row) {
  fresh_entries_[key.parent][row.cookie] = key.name;
  entries_.put(key, std::make_shared<const EntryRow>(row));
}

void Tables::cut_entry(const EntryKey& key) {
  if (const auto old = entry(key)) {
    if (const auto fresh = fresh_entries_.find(key.parent); fresh != fresh_entries_.end()) {
      fresh->second.erase(old->cookie);
      if (fresh->second.empty()) fresh_entries_.erase(fresh);
    }
  }
  entries_.put(key, nullptr);
}

void Tables::put_window(const WindowKey& key, WindowRow row) {
  if (row.pieces.empty()) {
    windows_.put(key, nullptr);
  } else {
    fresh_windows_[key.inode].insert(key.window);
    windows_.put(key, std::make_shared<const WindowRow>(std::move(row)));
  }
}

SegmentRow& Tables::change_segment(SegmentId segment) {
  changed_segments_.insert(segment);
  return segments_[segment];
}

void Tables::cut_segment(SegmentId segment) {
  changed_segments_.insert(segment);
  segments_.erase(segment);
}

void Tables::put_garbage(const AttemptId& attempt, GarbageRow row) {
  changed_garbage_.insert(attempt);
  garbage_[attempt] = std::move(row);
}

void Tables::cut_garbage(const AttemptId& attempt) {
  changed_garbage_.insert(attempt);
  garbage_.erase(attempt);
}

void Tables::put_node(const NodeSpec& node) {
  changed_nodes_.insert(node.id);
  nodes_[node.id] = node;
}

void Tables::cut_node(const NodeId& node) {
  changed_nodes_.insert(node);
  nodes_.erase(node);
}

namespace {

template <typename Key, typename Row>
std::vector<std::pair<Key, std::optional<Row>>> take(std::set<Key>& changed, const std::map<Key, Row>& rows) {
  std::vector<std::pair<Key, std::optional<Row>>> changes;
  for (const Key& key : changed) {
    const auto it = rows.find(key);
    changes.emplace_back(key, it == rows.end() ? std::nullopt : std::optional<Row>(it->second));
  }
  changed.clear();
  return changes;
}

}  // namespace

IndexChanges Tables::take_changes(Lsn upto) {
  IndexChanges changes;
  changes.upto = upto;
  changes.inodes = inodes_.take_changes();
  changes.entries = entries_.take_changes();
  changes.xattrs = xattrs_.take_changes();
  changes.windows = windows_.take_changes();
  changes.extents = extents_.take_changes();
  changes.segments = take(changed_segments_, segments_);
  changes.garbage = take(changed_garbage_, garbage_);
  changes.nodes = take(changed_nodes_, nodes_);
  if (volume_changed_) changes.volume = volume_;
  volume_changed_ = false;
  return changes;
}

void Tables::applied(const IndexChanges& changes) {
  const auto nothing = [](const auto&, const auto&) {};
  inodes_.applied(changes.inodes, nothing);
  entries_.applied(changes.entries, [this](const EntryKey& key, const auto& row) {
    const auto fresh = fresh_entries_.find(key.parent);
    if (fresh == fresh_entries_.end() || row == nullptr) return;
    fresh->second.erase(row->cookie);
    if (fresh->second.empty()) fresh_entries_.erase(fresh);
  });
  xattrs_.applied(changes.xattrs, nothing);
  windows_.applied(changes.windows, [this](const WindowKey& key, const auto&) {
    const auto fresh = fresh_windows_.find(key.inode);
    if (fresh == fresh_windows_.end()) return;
    fresh->second.erase(key.window);
    if (fresh->second.empty()) fresh_windows_.erase(fresh);
  });
  extents_.applied(changes.extents, nothing);
}

}  // namespace atl
