// Brings finished segments to nodes: intent journaled, shards encoded and uploaded, placements journaled.
//
// Segments finish when they are full, old, or asked for. What died before shipping does not leave the machine: a
// segment without life is dropped, one with much dead in it is rewritten, and a few dead frames are overwritten with
// noise. At most a few segments are under way at once, which bounds memory. Thread-safe.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>

#include "cache/drive/committer.h"
#include "cache/drive/core.h"
#include "cache/drive/tasks.h"

namespace atl {

class Reclaimer;

class Shipper {
 public:
  Shipper(DriveCore& core, Committer& committer, Tasks& tasks) : core_(core), committer_(committer), tasks_(tasks) {}

  /// Begins; core.engine is set. `reclaimer` rewrites and drops segments.
  void start(Reclaimer& reclaimer);
  /// Cancels what runs and waits for its end; nothing starts any more.
  void stop();
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
  void completed(const std::shared_ptr<Upload>& upload, Result<> result);
  /// Overwrites dead frames of a staged segment with noise. Not under the state lock.
  Result<> blank_dead(SegmentId segment, std::uint64_t bytes);

  DriveCore& core_;
  Committer& committer_;
  Tasks& tasks_;
  Reclaimer* reclaimer_ = nullptr;

  mutable std::mutex mutex_;
  bool stopped_ = true;
  bool running_ = false;  // a task works through rounds
  bool again_ = false;    // and goes round once more
  bool hurried_ = false;  // somebody waits for the nodes
  std::optional<MonotonicTime> yielding_since_;
  std::map<SegmentId, std::shared_ptr<Upload>> uploads_;
  std::set<SegmentId> prepared_;  // finished on disk and blanked
  struct Retry {
    MonotonicTime at;
    Duration delay{};
  };
  std::map<SegmentId, Retry> retries_;
  std::optional<MonotonicTime> open_since_;
};

}  // namespace atl
