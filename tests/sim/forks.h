// Several computers and one drive: recoveries at one moment, on two halves of the nodes, of a computer that wakes up later,
// and of a state that only some nodes know. Afterwards one owns the drive, and nothing that either side had acknowledged and
// shipped is lost without a word: it lies where it was saved, or in a folder of what was recovered.
#pragma once

#include "tests/sim/simulation.h"

namespace atl::sim {

/// As simulate().
RunReport simulate_forks(const RunOptions& options);

}  // namespace atl::sim
