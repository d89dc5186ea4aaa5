// Gives space back: drops segments in which nothing lives, rewrites those in which little does, merges small ones, and
// removes from nodes what became garbage, after its grace.
//
// Nothing is removed, here or there, before the record that makes it garbage is durable. Thread-safe.
#pragma once

#include <atomic>
#include <memory>
#include <map>
#include <mutex>
#include <optional>
#include <set>

#include "cache/care/strays.h"
#include "cache/drive/committer.h"
#include "cache/drive/core.h"
#include "cache/drive/extent_reader.h"
#include "cache/drive/shipper.h"
#include "cache/drive/tasks.h"

namespace atl {

class Publisher;

class Reclaimer {
 public:
  Reclaimer(DriveCore& core, Committer& committer, ExtentReader& reader, SegmentFetcher& fetcher, Shipper& shipper, Tasks& tasks)
      : core_(core), committer_(committer), reader_(reader), fetcher_(fetcher), shipper_(shipper), tasks_(tasks), sweeper_(core, committer, tasks), barrier_(core.writer->next()) {}

  /// Before any of the others. `publisher` tells nodes of what became garbage, before its objects go.
  void start(Publisher& publisher) { publisher_ = &publisher; }
  /// A segment without live extents is gone; its objects are garbage.
  void drop(SegmentId segment);
  /// Copies what lives in a segment to the open one. The segment is dropped by a later round.
  Result<> rewrite(SegmentId segment);
  /// Segments with smaller ids may hold what rewriting moved there.
  SegmentId barrier() const { return barrier_.load(); }
  /// All bytes of a shipped or staged segment, from wherever they are; the local header may read as zeros.
  Result<Bytes> segment_bytes(SegmentId segment, const SegmentRow& row);
  /// Periodic care; returns at once.
  void tick();
  /// All that is due, thoroughly. With `wait`, until nothing more is due; else one pass.
  Result<> collect(bool wait, const std::stop_token& stop);

 private:
  /// Segments of another redundancy than the drive's: what lives in them is encoded anew.
  std::vector<SegmentId> encoded_otherwise(bool thorough);
  /// Segments worth rewriting; `thorough` takes any that keeps the drive from its bound.
  std::vector<SegmentId> candidates(bool thorough);
  /// Removes objects of garbage that is due; if not at once, when some has been due for a while. True if it came to that.
  Result<bool> remove_objects(bool at_once);
  /// Waits until nodes know of everything that became garbage so far.
  Result<> await_head(const std::stop_token& stop);
  /// Staging or the disk has no room for more to be rewritten now.
  bool short_of_room();
  /// What was moved here from dropped segments is protected again, so that their objects may go.
  bool moved_is_protected();

  DriveCore& core_;
  Committer& committer_;
  ExtentReader& reader_;
  SegmentFetcher& fetcher_;
  Shipper& shipper_;
  Tasks& tasks_;
  Publisher* publisher_ = nullptr;
  StraySweeper sweeper_;
  /// When garbage was first looked at: a head for at least that place must count before its objects go. State lock.
  std::map<AttemptId, Lsn> garbage_seen_;
  std::atomic<SegmentId> barrier_;
  bool passing_ = false;  // one pass at a time; with tick_mutex_ held
  std::mutex tick_mutex_;
  std::optional<MonotonicTime> last_pass_;
  bool scheduled_ = false;
};

}  // namespace atl
