// The index on disk: rows in SQLite, and the LSN up to which they are the journal folded. Can be thrown away: it is
// rebuilt from the checkpoint and the journal.
//
// Two connections: reads (guarded by the caller's state lock) and the one writer (one apply() at a time). In WAL mode
// neither waits for the other. A failed read throws IndexFailure: nothing that called it can go on, and the drive stops
// taking requests; everything else answers a Result.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/index/row_table.h"
#include "cache/index/rows.h"
#include "engine/base/result.h"

namespace atl {

class DiskVfs;
class Disk;

/// The index cannot be read: damaged, or its disk failed.
class IndexFailure : public std::exception {
 public:
  explicit IndexFailure(Error error) : error_(std::move(error)) {}
  const Error& error() const { return error_; }
  const char* what() const noexcept override { return error_.what.c_str(); }

 private:
  Error error_;
};

/// The changes of one commit, in final form: one entry a row, no value meaning removed.
struct IndexChanges {
  Lsn upto;  // the rows are the journal folded to here
  RowTable<InodeNumber, InodeRow>::Changes inodes;
  RowTable<EntryKey, EntryRow>::Changes entries;
  RowTable<InodeNumber, XattrsRow>::Changes xattrs;
  RowTable<WindowKey, WindowRow>::Changes windows;
  RowTable<ExtentId, ExtentRow>::Changes extents;
  std::vector<std::pair<SegmentId, std::optional<SegmentRow>>> segments;
  std::vector<std::pair<AttemptId, std::optional<GarbageRow>>> garbage;
  std::vector<std::pair<NodeId, std::optional<NodeSpec>>> nodes;
  std::optional<VolumeRow> volume;

  /// Memory that the rows take, about.
  std::size_t weight() const;
};

struct ListedEntry {
  std::string name;
  EntryRow row;
};

class IndexStore {
 public:
  static constexpr int format = 1;

  /// Makes an empty index, replacing whatever is there. The disk outlives it.
  static Result<std::unique_ptr<IndexStore>> create(Disk& disk, const std::string& path);
  /// Opens an existing one, of which no other is open in this process. Code::not_found, corrupt (rebuild it),
  /// newer_format, io.
  static Result<std::unique_ptr<IndexStore>> open(Disk& disk, const std::string& path);
  /// Likewise, changing nothing, not even what a crash left: apply, flush and load fail. Another process may change the
  /// index meanwhile; then any read may fail.
  static Result<std::unique_ptr<IndexStore>> open_read_only(Disk& disk, const std::string& path);
  /// Another one over the same file, with connections of its own, for use beside this one on any thread.
  Result<std::unique_ptr<IndexStore>> beside();
  ~IndexStore();

  /// Rows carry sums, but a damaged page that leads searches astray hides rows that are there: looks at the order of
  /// all of them. Reads the whole file. Code::corrupt.
  Result<> check();

  // Reads; throw IndexFailure.
  std::shared_ptr<const InodeRow> inode(InodeNumber inode);
  std::shared_ptr<const EntryRow> entry(const EntryKey& key);
  std::shared_ptr<const XattrsRow> xattrs(InodeNumber inode);
  std::shared_ptr<const WindowRow> window(const WindowKey& key);
  std::shared_ptr<const ExtentRow> extent(ExtentId extent);
  /// Entries of a directory with a cookie above `after`, in cookie order, at most `limit`.
  std::vector<ListedEntry> list(InodeNumber parent, std::uint64_t after, std::size_t limit);
  /// Windows of a file in [first, last] that have a row, in order.
  std::vector<std::uint64_t> windows(InodeNumber inode, std::uint64_t first, std::uint64_t last);
  /// Inodes without names.
  std::vector<InodeNumber> orphans();
  std::vector<std::pair<SegmentId, SegmentRow>> segments();
  std::vector<std::pair<AttemptId, GarbageRow>> garbage();
  std::vector<NodeSpec> nodes();
  VolumeRow volume();
  Lsn applied();

  /// Applies commits in order, in one transaction. Code::no_space, io, corrupt: nothing was applied.
  Result<> apply(const std::vector<IndexChanges>& commits);
  /// Makes everything applied durable in the main file. Returns the LSN that is durable then.
  Result<Lsn> flush();

  /// Shows every row of every table in the canonical order: table name, key, row. Returns the LSN of that moment.
  Result<Lsn> dump(const std::function<Result<>(std::string_view table, ByteView key, ByteView row)>& visit);
  /// Stores one row as dump() showed it; within begin_load and end_load. abandon_load forgets what was loaded.
  Result<> begin_load();
  Result<> load(std::string_view table, ByteView key, ByteView row);
  Result<> end_load(Lsn applied);
  Result<> abandon_load();
  /// BLAKE2b-256 over dump().
  Result<Bytes> digest();

 private:
  struct State;
  explicit IndexStore(std::unique_ptr<State> state);
  static Result<std::unique_ptr<IndexStore>> connect(std::shared_ptr<DiskVfs> vfs, const std::string& path);
  std::unique_ptr<State> state_;
};

}  // namespace atl
