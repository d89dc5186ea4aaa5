// What happened in a run, as a hash that two runs of one seed must share, and as lines for who wants to read them.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "engine/base/clock.h"

namespace atl::sim {

class Trace {
 public:
  Trace(const Clock& clock, bool print) : clock_(clock), print_(print) {}

  /// One event, now. FNV-1a over time and text.
  void note(const std::string& text) {
    const auto at = clock_.now().time_since_epoch().count();
    for (int i = 0; i < 8; ++i) mix(static_cast<std::uint8_t>(at >> (8 * i)));
    for (const char c : text) mix(static_cast<std::uint8_t>(c));
    ++events_;
    if (print_) std::printf("%14.6f  %s\n", static_cast<double>(at) * 1e-9, text.c_str());
  }
  std::uint64_t hash() const { return hash_; }
  std::uint64_t events() const { return events_; }

 private:
  void mix(std::uint8_t byte) { hash_ = (hash_ ^ byte) * 0x100000001b3ull; }

  const Clock& clock_;
  const bool print_;
  std::uint64_t hash_ = 0xcbf29ce484222325ull;
  std::uint64_t events_ = 0;
};

}  // namespace atl::sim
