// Where new extents go: the open segments, filled one after another.
//
// A writer reserves places, writes sealed frames there, reports them written, logs the records that name them, and
// settles. A segment without room is closed; once all its places are settled it can be finished. Durability is the
// commit's: it syncs what was reported written before its cut.
// Thread-safe; reserve() and settle() never touch the disk, so they may be called under the state lock.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "cache/staging/segment_store.h"
#include "engine/base/ids.h"
#include "engine/base/result.h"

namespace atl {

class SegmentWriter {
 public:
  struct Place {
    std::shared_ptr<SegmentFile> file;
    std::uint64_t offset = 0;  // of the frame
    std::uint32_t plain_bytes = 0;
    SegmentId segment() const { return file->id(); }
  };

  /// `next` is the first segment id never used; `capacity` is what a segment holds at most, its header included.
  SegmentWriter(SegmentStore& store, SegmentId next, std::uint64_t capacity);

  /// Of segments that are created from now on.
  void set_capacity(std::uint64_t capacity);
  /// Places for extents of these lengths, in order, or none at all if there is no room: then ensure() and try again.
  std::optional<std::vector<Place>> reserve(const std::vector<std::uint32_t>& plain_lengths);
  /// Makes room for so many bytes of frames. Touches the disk. Code::no_space, io.
  Result<> ensure(std::uint64_t bytes);
  /// The frame at this place is written (not synced).
  void written(const Place& place);
  /// The place's record is logged, or given up: it will not be written any more.
  void settle(const Place& place);

  /// Closes the open segment, so that it can be shipped. False if nothing is in it.
  bool close_open();
  /// Closed segments whose places are all settled, with their sizes; each is given once.
  std::vector<std::pair<SegmentId, std::uint64_t>> take_finished();
  /// Files with frames reported written since the last call, to be synced now.
  std::vector<std::shared_ptr<SegmentFile>> take_unsynced();
  /// Something is in an open segment, or in a closed one that is not finished.
  bool has_open_bytes() const;
  /// All segments so far have smaller ids.
  SegmentId next() const;
  /// So many segments were closed because they were full.
  std::uint64_t filled() const;
  /// A closed segment waits to be taken as finished.
  bool has_closed() const;

 private:
  struct Open {
    std::shared_ptr<SegmentFile> file;
    std::uint64_t capacity = 0;
    std::uint64_t used = segment_header_bytes;
    std::uint32_t unsettled = 0;
    bool unsynced = false;
  };

  std::uint64_t room() const;

  SegmentStore& store_;
  std::mutex creating_;              // held while a segment is created; taken before mutex_
  mutable std::mutex mutex_;
  std::uint64_t capacity_;
  SegmentId next_;
  std::deque<Open> open_;            // places come from the front
  std::map<SegmentId, Open> closed_; // until finished and synced
  std::map<SegmentId, std::uint64_t> finished_;
  std::uint64_t filled_ = 0;
};

}  // namespace atl
