// Whether nodes hold the shards that a drive's rows say they hold: by the names that they list, and by reading.
//
// What seems to be missing is asked for by its own name, and the rows are looked at again: shards move while a check
// runs. Nothing is changed here. Blocks for nodes; one call at a time. Memory: eight bytes a name that a node lists, and
// some MiB of what is read.
#pragma once

#include <functional>
#include <set>
#include <stop_token>

#include "cache/care/check.h"
#include "cache/care/plan.h"
#include "cache/drive/core.h"

namespace atl {

class ShardCheck {
 public:
  struct Fault {
    SegmentId segment;
    AttemptId attempt;
    ShardHome home;
    bool missing = false;  // else damaged
  };
  struct Seams {
    std::function<void(const Fault&)> found;           // once a shard, while it has its home there
    std::function<void(SegmentId)> read_upto;          // everything up to this segment has been read
    std::function<void(std::uint64_t done, std::uint64_t total)> progress;
  };
  ShardCheck(DriveCore& core, std::stop_token stop, Seams seams) : core_(core), stop_(std::move(stop)), seams_(std::move(seams)) {}

  /// Fills what is known of the node from its own listing. A node that does not answer is no error (with an `error` in its
  /// entry already, it is not asked); Code::cancelled.
  Result<> list(CheckedNode& node);
  /// Counts what was known to be damaged before.
  void recall(const BadShards& bad, std::vector<CheckedNode>& nodes);
  /// Reads `percent` of what lies on nodes that answer, segment by segment, those behind `after`. Adds what nodes did
  /// not answer for to their entries, and returns the bytes read. Code::cancelled.
  Result<std::uint64_t> read(unsigned percent, std::optional<SegmentId> after, std::vector<CheckedNode>& nodes);

 private:
  struct Home {
    SegmentId segment;
    AttemptId attempt;
    Redundancy redundancy;
    std::uint64_t shipped_bytes = 0;
    ShardHome home;
  };
  struct Probe {
    const Home* home = nullptr;
    std::uint32_t first = 0;
    std::uint32_t count = 0;
  };
  enum class Verdict { whole, missing, damaged, silent };

  /// The homes of segments that something lives in, behind `after`: of so many segments, or of as many as have so many
  /// bytes, and at least one home; empty at the end.
  std::vector<Home> next_homes(std::optional<SegmentId>& after, std::size_t segments_max, std::uint64_t bytes_max, const std::optional<NodeId>& on);
  Result<std::vector<std::uint64_t>> names_on(const NodeId& node, const SecretKey& name_key);
  /// What nodes say of objects that did not show up, or not as they should.
  Result<std::vector<Verdict>> ask_about(const std::vector<const Home*>& homes, const SecretKey& name_key);
  std::uint64_t count_strange(const NodeId& node, const std::vector<std::uint64_t>& names, std::vector<bool>& known, const SecretKey& name_key);
  Result<> read_some(std::span<const Probe> probes, const SecretKey& name_key, const SecretKey& mac_key, std::vector<CheckedNode>& nodes);
  void report(const Home& home, Verdict verdict, CheckedNode* node);
  bool still_home(const Home& home) const;
  static CheckedNode* entry_of(std::vector<CheckedNode>& nodes, const NodeId& id);

  DriveCore& core_;
  const std::stop_token stop_;
  const Seams seams_;
  std::set<std::pair<AttemptId, ShardHome>> reported_, silent_;
  std::uint64_t read_bytes_ = 0;
};

}  // namespace atl
