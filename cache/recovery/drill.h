// The rehearsal of a recovery: all of it, from the nodes alone, into a place that is thrown away.
//
// Nothing is written to nodes and no epoch is claimed. What comes back is compared with the drive as it is here.
// Blocking; one caller.
#pragma once

#include <stop_token>

#include "cache/recovery/comparison.h"
#include "cache/recovery/recovery.h"

namespace atl {

struct DrillOptions {
  Comparison::Options compare;
  std::size_t segments_asked = 64;              // of these all shards are asked for a leaf; with compare.all, of all
  Duration patience = std::chrono::seconds(15);  // with one answer of a node
};

struct DrillReport {
  Timestamp at;
  std::vector<HeadAnswer> answers;  // of the nodes
  std::uint32_t epoch = 0;
  std::uint64_t generation = 0;
  Duration until_list{};  // from the beginning to the first listing
  Duration took{};
  bool all = false;
  std::uint64_t files = 0;  // that came back
  Comparison::Seen compared;
  std::vector<Comparison::Difference> differences;
  std::uint64_t more_differences = 0;
  std::uint64_t segments_asked = 0;
  std::uint64_t bad_shards = 0;  // damaged or missing where the node that should hold them answers
  Changes lost;                  // what would be lost now, were the computer; only its numbers are kept
  std::uint64_t lost_seconds = 0;  // age of the oldest of it
  std::uint32_t survives = 0;      // so many of the nodes that were there may have been gone as well
  bool passed() const { return differences.empty() && bad_shards == 0; }
};

/// `directory` exists and is empty; whoever gave it removes it with all that is in it then. `live` was opened, started or
/// not; `engine` is for `nodes`, and nobody else's where it is told of changes of nodes. `progress` sees what was compared.
/// Code::too_few_nodes where it does not come back, with what is missing; cancelled, corrupt, the disk's.
Result<DrillReport> run_drill(DriveSeams seams, const std::string& directory, Drive& live, const Keyring& keyring, Engine& engine,
                              const std::vector<NodeSpec>& nodes, const DrillOptions& options,
                              const std::function<void(const DrillReport&)>& progress, std::stop_token stop);

}  // namespace atl
