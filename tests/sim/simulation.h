// One run of a whole system, from a seed: a safety phase, in which anything may fail and nothing may be wrong, and a
// liveness phase, in which everything is there again and all must become full and readable. Then the computer is lost.
#pragma once

#include <cstdint>
#include <string>

namespace atl::sim {

struct RunOptions {
  std::uint64_t seed = 1;
  std::uint64_t days = 0;   // 0: under an hour, as the seed says
  std::size_t nodes = 0;    // 0: as the seed says
  bool trace = false;
  bool forks = false;       // several computers; simulate_forks()
  bool losses = false;      // instead of anything else: nodes are lost by turns, and care is to make good for it
};

struct RunReport {
  bool passed = false;
  std::string why;           // it did not
  std::uint64_t hash = 0;    // of the trace
  std::uint64_t events = 0;
  double simulated_seconds = 0;
  std::uint64_t operations = 0;
  std::uint64_t reads = 0;
  std::uint64_t reads_failed = 0;
  std::uint64_t protections = 0;
  std::uint64_t strikes = 0;
  std::size_t nodes = 0;
};

/// Call it once in a process that ends soon after a failed run, since that leaves what was under way where it is.
RunReport simulate(const RunOptions& options);

}  // namespace atl::sim
