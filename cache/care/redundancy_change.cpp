// Caretaker: another redundancy than the one that the drive was made with.
#include <algorithm>

#include "cache/care/caretaker.h"
#include "engine/base/mutant.h"

namespace atl {

Result<> Caretaker::set_redundancy(Redundancy redundancy, std::uint8_t protect_min) {
  const std::string text = std::to_string(redundancy.k) + "/" + std::to_string(redundancy.n);
  if (redundancy.k == 0 || redundancy.k > redundancy.n || protect_min < redundancy.k || protect_min > redundancy.n)
    return fail(Code::invalid, text + " with " + std::to_string(protect_min) + " shards to be protected is no redundancy");
  {
    std::lock_guard lock(core_.mutex);
    if (auto refused = core_.refusal()) return fail(*refused);
    const VolumeRow& volume = core_.tables->volume();
    const auto staying = static_cast<std::size_t>(std::count_if(core_.tables->nodes().begin(), core_.tables->nodes().end(),
                                                                [&](const auto& node) { return !volume.leaving.contains(node.first); }));
    if (staying < redundancy.n && !mutant("redundancy-without-nodes"))
      return fail(Code::too_few_nodes, "redundancy " + text + " needs " + std::to_string(redundancy.n) + " nodes, and " + std::to_string(staying) + " stay",
                  "a node holds at most one shard of a segment: add nodes (atoll node add), or choose a smaller n");
    if (volume.k == redundancy.k && volume.n == redundancy.n && volume.protect_min == protect_min) return {};
    core_.log(RedundancySet{redundancy.k, redundancy.n, protect_min});
    core_.writer->set_capacity(segment_header_bytes + ShardGeometry::segment_capacity(redundancy));
  }
  return mutant("redundancy-undurable") ? Result<>() : committer_.commit();
}

}  // namespace atl
