// What the store knows of one local file, and what it shares with the handles that outlive it.
//
// Locks: StoreState::names serialises changes of names; StoreState::mutex guards the map, the orders of use and the
// open files; SegmentEntry::mutex guards one entry. Taken in this order; no disk is touched under the latter two.
#pragma once

#include <atomic>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "cache/staging/segment_store.h"

namespace atl {

enum class SegmentKind { staged, whole, partial };  // staging/ID.seg, cache/ID.seg, cache/ID.part

struct SegmentEntry {
  explicit SegmentEntry(SegmentId id_) : id(id_) {}

  const SegmentId id;

  std::mutex mutex;  // guards the members up to the next comment
  SegmentKind kind = SegmentKind::staged;
  std::uint64_t size = 0;
  std::uint64_t capacity = 0;
  bool finished = false;
  bool gone = false;                  // removed or evicted; handles may remain
  bool poisoned = false;              // a flush failed
  bool unsynced = false;              // written since the last flush; for a partial file, filled since it was opened
  std::uint64_t held = 0;             // bytes of the blocks of a partial file
  std::vector<std::uint64_t> blocks;  // of a partial file, 64 to a word
  std::shared_ptr<File> pinned;       // while anything is unsynced: a new descriptor might not see its flush fail

  // Guarded by StoreState::mutex.
  std::weak_ptr<File> open;
  std::list<std::shared_ptr<SegmentEntry>>::iterator cache_place;  // in StoreState::cache_order, if in_cache
  bool in_cache = false;

  bool holds(std::uint64_t offset, std::uint64_t length) const;  // under `mutex`
};

class StoreState : public std::enable_shared_from_this<StoreState> {
 public:
  using EntryPtr = std::shared_ptr<SegmentEntry>;
  static constexpr std::size_t open_files_max = 128;

  StoreState(Disk& disk_, std::string directory_, const VolumeId& volume_)
      : disk(disk_), directory(std::move(directory_)), volume(volume_) {}

  std::string staging() const { return directory + "/staging"; }
  std::string cache() const { return directory + "/cache"; }
  std::string path(SegmentId id, SegmentKind kind) const;

  /// The entry's open file; opens it if need be. Code::not_found if it is gone.
  Result<std::shared_ptr<File>> file_of(const EntryPtr& entry);
  /// Keeps a file open among the last used and returns it, or the one that is open already; nullptr if the entry is
  /// gone.
  std::shared_ptr<File> keep_open(const EntryPtr& entry, std::shared_ptr<File> file);
  EntryPtr find(SegmentId id);
  /// Adds an entry; a cached one as the last used.
  void add(const EntryPtr& entry);
  /// Forgets an entry and its bytes. Returns the bytes it counted as cached. The file is the caller's business.
  std::uint64_t forget(const EntryPtr& entry);
  /// The segment counts as used now.
  void touch(const EntryPtr& entry);

  Disk& disk;
  const std::string directory;
  const VolumeId volume;

  std::mutex names;
  std::mutex mutex;
  std::unordered_map<SegmentId, EntryPtr> entries;
  std::list<EntryPtr> cache_order;              // least recently used first
  std::list<std::shared_ptr<File>> open_files;  // likewise
  std::atomic<std::uint64_t> staged_bytes = 0;
  std::atomic<std::uint64_t> cached_bytes = 0;
  std::atomic<bool> closed = false;
};

/// A handle on an entry, its file open if that could be.
std::shared_ptr<SegmentFile> make_segment_file(std::shared_ptr<StoreState> store, std::shared_ptr<SegmentEntry> entry,
                                               std::shared_ptr<File> file);

}  // namespace atl
