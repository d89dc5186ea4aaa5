// Planted faults, for trying the tests: tests/mutants/list says what each breaks, and which tests must see it.
#pragma once

#ifdef ATOLL_MUTANTS
#include <cstdlib>
#include <string_view>
#endif

namespace atl {

/// Whether the fault of this name is on. In the build of the preset `mutants` that is the one which the environment
/// variable ATOLL_MUTANT names; in all others it is none, and the compiler leaves the fault out. Any thread.
#ifdef ATOLL_MUTANTS
inline bool mutant(std::string_view name) {
  static const char* const chosen = std::getenv("ATOLL_MUTANT");
  return chosen != nullptr && name == chosen;
}
#else
constexpr bool mutant(const char*) { return false; }
#endif

}  // namespace atl
