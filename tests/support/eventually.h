// For tests against the real kernel, where what is waited for (a forget, the end of a process) has no event to wait on.
//
// The only place of the unit tests that lets time pass. What is asserted is that the condition comes true, never how
// soon; `false` after ten seconds means that it did not. Everything else waits for an event or moves a ManualClock.
#pragma once

#include <chrono>
#include <thread>

namespace atl {

template <typename Condition>
bool eventually(Condition&& holds, std::chrono::milliseconds bound = std::chrono::seconds(10)) {
  const auto deadline = std::chrono::steady_clock::now() + bound;
  while (!holds()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace atl
