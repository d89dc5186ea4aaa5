// Removes from nodes the objects of shards that moved away or never came to count, when no head that counts rests on
// them any more and their grace is over.
//
// Called by the Reclaimer's passes, one at a time. Blocks for nodes.
#pragma once

#include <map>

#include "cache/drive/committer.h"
#include "cache/drive/core.h"
#include "cache/drive/tasks.h"

namespace atl {

class StraySweeper {
 public:
  StraySweeper(DriveCore& core, Committer& committer, Tasks& tasks) : core_(core), committer_(committer), tasks_(tasks) {}

  /// Removes what is due. What a node that is away holds stays, until it returns or is removed from the drive.
  Result<> sweep();
  /// Whether the grace of one is over, whether or not heads still need it.
  bool due_left();

 private:
  using Place = std::tuple<SegmentId, AttemptId, ShardHome>;
  bool over(const Stray& stray) const;  // state lock held

  DriveCore& core_;
  Committer& committer_;
  Tasks& tasks_;
  std::map<Place, Lsn> seen_;  // when it was first looked at: a head for at least that place must count. State lock.
};

}  // namespace atl
