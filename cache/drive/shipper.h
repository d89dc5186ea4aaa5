// Brings finished segments to nodes: intent journaled, shards encoded and uploaded, placements journaled.
//
// Segments finish when they are full, when it is time for what is little (ship_pace.h), or when asked for. What died before
// shipping does not leave the machine: a segment without life is dropped, one with much dead in it is rewritten, and a few
// dead frames are overwritten with noise. At most a few segments are under way at once, which bounds memory; those that are protected and wait for slow
// nodes only do not hold up the next, and are given up for later when there are many. Thread-safe.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "cache/drive/committer.h"
#include "cache/drive/core.h"
#include "cache/drive/ship_pace.h"
#include "cache/drive/tasks.h"
#include "cache/erasure/shard_codec.h"

namespace atl {

class Publisher;
class Reclaimer;

class Shipper {
 public:
  Shipper(DriveCore& core, Committer& committer, Tasks& tasks)
      : core_(core), committer_(committer), tasks_(tasks), pace_(core.ship_limits()) {}

  /// Begins; core.engine is set. `reclaimer` rewrites and drops segments, `publisher` tells nodes of them.
  void start(Reclaimer& reclaimer, Publisher& publisher);
  /// Cancels what runs and waits for its end; nothing starts any more.
  void stop();
  /// Nothing more is appended to the open segment: it is shipped in its turn.
  void finish_open();
  /// Ships everything now, however little there is.
  void hurry();
  /// Staging's copies of what is protected, though not full, become cache, for when space is short. True if any did.
  bool release_protected();
  /// Looks for work soon.
  void pump();
  bool in_flight(SegmentId segment) const;
  bool busy() const;

 private:
  struct Upload;

  void tick();
  void round();
  /// Whether uploads wait a moment, since somebody is writing and there is room for what they write.
  bool yields();
  Result<> begin(SegmentId segment);
  /// What is to be encoded: mapped shard by shard from the local file, so that each can go on its own.
  Result<std::vector<ShardContent>> content_of(SegmentId segment, const SegmentRow& row, const ShardGeometry& geometry);
  /// Whether the open segment is to be sent though it is not full.
  bool is_due();
  /// Whether a further upload may begin. Gives up the longest running one of those that only slow nodes hold back, if
  /// they alone are in the way of something unprotected. With `mutex_` held.
  bool has_room(bool is_protected);
  /// The segment's next try comes later; later still each time. With `mutex_` held.
  void put_off(SegmentId segment);
  void log_stored(Upload& upload);  // state lock held
  void protected_early(const std::shared_ptr<Upload>& upload);
  void completed(const std::shared_ptr<Upload>& upload, Result<> result);
  /// Overwrites dead frames of a staged segment with noise. Not under the state lock.
  Result<> blank_dead(SegmentId segment, std::uint64_t bytes);

  DriveCore& core_;
  Committer& committer_;
  Tasks& tasks_;
  Reclaimer* reclaimer_ = nullptr;
  Publisher* publisher_ = nullptr;

  mutable std::mutex mutex_;
  bool stopped_ = true;
  bool running_ = false;  // a task works through rounds
  bool again_ = false;    // and goes round once more
  bool hurried_ = false;  // somebody waits for the nodes
  std::optional<MonotonicTime> yielding_since_;
  std::map<SegmentId, std::shared_ptr<Upload>> uploads_;
  std::uint64_t uploads_begun_ = 0;
  std::set<SegmentId> prepared_;  // finished on disk and blanked
  struct Retry {
    MonotonicTime at;
    Duration delay{};
  };
  std::map<SegmentId, Retry> retries_;
  std::optional<MonotonicTime> open_since_;
  ShipPace pace_;  // of segments that are sent before they are full
};

}  // namespace atl
