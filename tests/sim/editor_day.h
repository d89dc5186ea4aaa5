// What a drive's quiet use costs its nodes: somebody saves one file each ten seconds for eight hours a day.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace atl::sim {

struct EditorDay {
  std::uint64_t saves = 0;
  std::uint64_t requests = 0;  // that the node which saw most of them saw in 24 hours
  std::map<std::string, std::uint64_t> of_that_node;  // by kind of call
  double longest_s = 0;        // from a save until it was protected, looked at each second
};

/// 2,880 saves and 16 idle hours, on six daemons at 3/6 with the options that a mount has if nobody says otherwise. Counted on
/// the second such day, so that the garbage of the first is removed meanwhile. Throws Violation.
EditorDay simulate_editor_day(std::uint64_t seed);

}  // namespace atl::sim
