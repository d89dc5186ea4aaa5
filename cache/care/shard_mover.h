// Brings shards to other nodes (shard_transfer.h), and the journal knows about it.
//
// Order of things, so that a crash anywhere loses and leaks nothing: the places where objects may come to lie are
// journaled (ShardMoving) and durable; the objects are read, verified, computed and stored; the new homes are journaled
// (ShardMoved) and durable; only then is an old place a stray, which the Reclaimer removes when no head needs it.
// A damaged shard whose node is well, and for which no other node is free, is replaced where it is.
//
// Blocks for nodes; one call at a time. Memory: the new objects, and a window of each of k shards.
#pragma once

#include <functional>

#include "cache/care/shard_transfer.h"
#include "cache/drive/committer.h"
#include "cache/drive/core.h"
#include "cache/drive/shipper.h"
#include "cache/drive/tasks.h"

namespace atl {

/// A segment is care's while this lives: neither shipped, dropped nor swept by others. Nothing where it is being worked on
/// elsewhere, or the attempt is none that lives.
class CaredSegment {
 public:
  /// Takes the state lock. The drive's parts outlive it.
  static std::unique_ptr<CaredSegment> claim(DriveCore& core, Shipper& shipper, SegmentId segment, const AttemptId& attempt);
  ~CaredSegment();
  CaredSegment(const CaredSegment&) = delete;
  CaredSegment& operator=(const CaredSegment&) = delete;
  const SegmentRow& row() const { return row_; }  // as it was when it was claimed

 private:
  CaredSegment(DriveCore& core, SegmentId segment, SegmentRow row) : core_(core), segment_(segment), row_(std::move(row)) {}
  DriveCore& core_;
  const SegmentId segment_;
  const SegmentRow row_;
};

class ShardMover {
 public:
  ShardMover(DriveCore& core, Committer& committer, Shipper& shipper, Tasks& tasks)
      : core_(core), committer_(committer), shipper_(shipper), tasks_(tasks) {}

  struct Request {
    CareJob job;
    std::vector<ShardPlace> nodes;                         // all that answer
    const BadShards* bad = nullptr;                        // known to be damaged or missing; outlives the call
    std::function<bool(const ShardHome&)> still_wanted;    // asked again before anything is stored
    std::map<ShardHome, NodeId> destinations;              // where it was decided already
  };
  struct Outcome {
    std::vector<ShardHome> replaced;    // the old homes of what is somewhere else now, or whole again
    std::uint64_t read_bytes = 0;
    std::uint64_t written_bytes = 0;
    bool no_place = false;              // something had no node to go to
    bool busy = false;                  // the segment is being worked on elsewhere: nothing was done
  };
  /// Code::too_few_nodes if fewer than k shards could be read, cancelled, or the drive's refusal. What was done before a
  /// failure stands.
  Result<Outcome> run(const Request& request);

 private:
  std::vector<ShardTarget> choose(const Request& request, const SegmentRow& row, Outcome& outcome);

  DriveCore& core_;
  Committer& committer_;
  Shipper& shipper_;
  Tasks& tasks_;
};

}  // namespace atl
