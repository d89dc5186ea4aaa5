// Randomness that a seed replays. For tests and the simulator only: predictable by design (SplitMix64). Thread-safe,
// though a run replays only where one thread draws.
#pragma once

#include <mutex>

#include "engine/base/random.h"

namespace atl {

class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed) {}

  void fill(MutableBytes out) override {
    const std::lock_guard lock(mutex_);
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (i % 8 == 0) word = next();
      out[i] = static_cast<std::uint8_t>(word >> (8 * (i % 8)));
    }
  }

  /// Uniform in [0, bound); bound > 0.
  std::uint64_t below(std::uint64_t bound) {
    const std::lock_guard lock(mutex_);
    return next() % bound;
  }
  bool chance(double probability) {
    const std::lock_guard lock(mutex_);
    return static_cast<double>(next() >> 11) * 0x1.0p-53 < probability;
  }
  Bytes bytes(std::size_t count) {
    Bytes result(count);
    fill(result);
    return result;
  }

 private:
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
  }

  std::mutex mutex_;
  std::uint64_t state_;
};

}  // namespace atl
