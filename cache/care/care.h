// What a person may ask of the care that a drive takes of itself. Implemented by Caretaker; used through Drive::care().
// Thread-safe. Calls that wait end soon after their stop token asks for it, with Code::cancelled.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "cache/care/check.h"
#include "cache/care/reputation.h"
#include "cache/erasure/shard_codec.h"
#include "engine/engine.h"

namespace atl {

/// What is known of a node from asking it for random leaves.
struct NodeCare {
  NodeId node;
  Trust trust = Trust::good;
  double score = 1;
  std::uint64_t audits = 0, wrong = 0, late = 0, silent = 0;
  bool leaving = false;
  std::uint64_t shards = 0;        // that lie there
  std::uint64_t bad_shards = 0;    // of these: known to be damaged or missing
  std::uint64_t away_seconds = 0;  // while the drive was mounted
};

struct CareStatus {
  std::vector<NodeCare> nodes;
  std::map<std::pair<Redundancy, int>, std::uint64_t> margins;  // segments by class and margin
  std::optional<SegmentId> worst_segment;
  int worst_margin = 0;
  double yearly_loss = 0;          // at least 1e-11: no more than eleven nines are ever claimed
  unsigned safe_days = 0;          // nobody repairs, and the risk stays below 1e-5
  std::uint64_t waiting_jobs = 0;  // segments that are to be repaired or moved
  bool no_place = false;           // some of these have no node to go to
};

struct CareProgress {
  std::uint64_t done = 0;
  std::uint64_t total = 0;
};

class Care {
 public:
  virtual ~Care() = default;
  virtual CareStatus status() = 0;
  /// Empties a node that works, or no longer (`leaving` false). With `wait`, returns when nothing of the drive's data
  /// has its home there. Code::not_found for a node that is none of the drive's; too_few_nodes if what it holds has
  /// nowhere to go.
  virtual Result<> drain(NodeId node, bool leaving, bool wait, const std::function<void(const CareProgress&)>& progress,
                         std::stop_token stop) = 0;
  /// Empties a node of the drive, then forgets it, and returns when a majority of the others was told. Code::not_found;
  /// too_few_nodes if a promise would break (the error names it) or something has nowhere to go: then the node stays as it
  /// was. cancelled: it goes on being emptied. timed_out: it is removed, but too few were told yet.
  virtual Result<> remove_node(NodeId node, const std::function<void(const CareProgress&)>& progress, std::stop_token stop) = 0;
  /// Compares the journal, the index and the nodes with what the drive says of them, and, as the options say, reads what
  /// nodes hold. What it finds is known to repairs from then on; with `repair` it returns when these have done what they
  /// can. Whatever is wrong is in the report. Code::busy while another one runs; cancelled: a reading goes on there when
  /// it is asked for again; unavailable while the drive is offline; read_only where nothing can be mended.
  virtual Result<CheckReport> check(const CheckOptions& options, const std::function<void(const CheckProgress&)>& progress,
                                    std::stop_token stop) = 0;
  /// From now on segments are encoded so, and count as protected from `protect_min` durable shards on; what lies on nodes
  /// otherwise is encoded anew in the background (Reclaimer), and goes there only when that is protected and a head that
  /// counts says so. Durable when it returns; also while the drive is offline. Code::invalid unless 1 <= k <= r <= n;
  /// too_few_nodes with fewer than n nodes that stay.
  virtual Result<> set_redundancy(Redundancy redundancy, std::uint8_t protect_min) = 0;
  /// Looks at once for what is to be repaired, whatever was tried a moment ago.
  virtual void hurry() = 0;
};

}  // namespace atl
