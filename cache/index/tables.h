// The drive's state as it is now: the index, with everything on top that the index does not have yet.
//
// Reads come from memory or else from the index (throwing IndexFailure if that cannot be read). Changes are made by
// fold() only. take_changes() cuts a commit's rows out; applied() gives them back once the index has them.
// Not thread-safe: guarded by the drive's state lock.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>

#include "cache/index/index_store.h"
#include "cache/index/row_table.h"
#include "cache/index/rows.h"

namespace atl {

class Tables {
 public:
  /// `store` outlives it.
  explicit Tables(IndexStore& store);

  std::shared_ptr<const InodeRow> inode(InodeNumber inode);
  std::shared_ptr<const EntryRow> entry(const EntryKey& key);
  std::shared_ptr<const XattrsRow> xattrs(InodeNumber inode);
  std::shared_ptr<const WindowRow> window(const WindowKey& key);
  std::shared_ptr<const ExtentRow> extent(ExtentId extent);
  /// Entries with a cookie above `after`, in cookie order, at most `limit`.
  std::vector<ListedEntry> list(InodeNumber parent, std::uint64_t after, std::size_t limit);
  /// Windows of a file in [first, last] that may hold pieces, in order.
  std::vector<std::uint64_t> windows(InodeNumber inode, std::uint64_t first, std::uint64_t last);

  void put_inode(InodeNumber inode, InodeRow row) { inodes_.put(inode, std::make_shared<const InodeRow>(std::move(row))); }
  void cut_inode(InodeNumber inode) { inodes_.put(inode, nullptr); }
  void put_entry(const EntryKey& key, const EntryRow& row);
  void cut_entry(const EntryKey& key);
  void put_xattrs(InodeNumber inode, XattrsRow row) { xattrs_.put(inode, std::make_shared<const XattrsRow>(std::move(row))); }
  void cut_xattrs(InodeNumber inode) { xattrs_.put(inode, nullptr); }
  void put_window(const WindowKey& key, WindowRow row);
  void put_extent(ExtentId extent, const ExtentRow& row) { extents_.put(extent, std::make_shared<const ExtentRow>(row)); }
  /// `last`: what it was. Whoever watches learns of it.
  void cut_extent(ExtentId extent, const ExtentRow& last) {
    if (watch_) watch_(last);
    extents_.put(extent, nullptr);
  }
  /// `watch` sees each extent that dies from now on; empty: nobody does.
  void watch_deaths(std::function<void(const ExtentRow&)> watch) { watch_ = std::move(watch); }

  // Small tables are in memory whole. The non-const access marks the row as changed.
  const std::map<SegmentId, SegmentRow>& segments() const { return segments_; }
  SegmentRow& change_segment(SegmentId segment);
  void cut_segment(SegmentId segment);
  const std::map<AttemptId, GarbageRow>& garbage() const { return garbage_; }
  void put_garbage(const AttemptId& attempt, GarbageRow row);
  void cut_garbage(const AttemptId& attempt);
  const std::map<NodeId, NodeSpec>& nodes() const { return nodes_; }
  void put_node(const NodeSpec& node);
  void cut_node(const NodeId& node);
  const VolumeRow& volume() const { return volume_; }
  VolumeRow& change_volume() {
    volume_changed_ = true;
    return volume_;
  }
  /// Inodes without names that were not purged yet.
  const std::set<InodeNumber>& orphans() const { return orphans_; }
  std::set<InodeNumber>& change_orphans() { return orphans_; }

  IndexChanges take_changes(Lsn upto);
  void applied(const IndexChanges& changes);

 private:
  struct Listing {
    std::vector<ListedEntry> entries;
    std::uint64_t examined = 0;  // the index has shown all up to this cookie
    bool ended = false;
  };
  Listing list_once(InodeNumber parent, std::uint64_t after, std::size_t limit);

  IndexStore& store_;
  std::function<void(const ExtentRow&)> watch_;
  RowTable<InodeNumber, InodeRow> inodes_;
  RowTable<EntryKey, EntryRow> entries_;
  RowTable<InodeNumber, XattrsRow> xattrs_;
  RowTable<WindowKey, WindowRow> windows_;
  RowTable<ExtentId, ExtentRow> extents_;

  std::map<SegmentId, SegmentRow> segments_;
  std::set<SegmentId> changed_segments_;
  std::map<AttemptId, GarbageRow> garbage_;
  std::set<AttemptId> changed_garbage_;
  std::map<NodeId, NodeSpec> nodes_;
  std::set<NodeId> changed_nodes_;
  VolumeRow volume_;
  bool volume_changed_ = false;
  std::set<InodeNumber> orphans_;

  // What the index's own ordered reads would miss, until it is applied.
  std::unordered_map<InodeNumber, std::map<std::uint64_t, std::string>> fresh_entries_;  // parent -> cookie -> name
  std::unordered_map<InodeNumber, std::set<std::uint64_t>> fresh_windows_;
};

}  // namespace atl
