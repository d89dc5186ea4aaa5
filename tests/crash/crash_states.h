// Power cuts: workloads run on a disk that remembers what was flushed, and after each of its changes the states that a
// cut allows are made, recovered and judged. See crash_main.cpp.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace atl::crash {

struct CrashPlan {
  std::uint64_t states = 100'000;  // so many at least
  std::uint64_t seed = 1;
  unsigned part = 0, parts = 1;    // of the workloads: every parts-th, from the part-th
  std::string only;                // one workload
  std::uint64_t draws = 0;         // states at each change of it; 0: as the plan has it
};

struct CrashTally {
  std::uint64_t workloads = 0;
  std::uint64_t states = 0;    // recovered and judged
  std::uint64_t failures = 0;
};

/// Prints a line for each failure, with the command that replays it.
CrashTally try_crash_states(const CrashPlan& plan, const std::string& program);

/// Every `step`-th call to the disk from the `first` on fails once, in each way, until there are no more, or the `last`.
CrashTally try_faults(std::uint64_t first, std::uint64_t step, std::uint64_t last, const std::string& program);

/// Every header byte and 512-byte block of every file and object is damaged, files are cut and swapped.
CrashTally try_damage(unsigned part, unsigned parts, const std::string& program);

}  // namespace atl::crash
