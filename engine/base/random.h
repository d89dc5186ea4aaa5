// Randomness, passed in. The system's source is the only implementation outside tests/.
#pragma once

#include <cstdint>

#include "engine/base/bytes.h"

namespace atl {

/// Thread-safe.
class Random {
 public:
  virtual ~Random() = default;
  /// Fills `out` with unpredictable bytes. Cannot fail; a system without a source of randomness ends the process.
  virtual void fill(MutableBytes out) = 0;

  std::uint64_t u64() {
    std::uint64_t value = 0;
    fill({reinterpret_cast<std::uint8_t*>(&value), sizeof value});
    return value;
  }
  /// A random id of a StrongBytes type.
  template <typename Id>
  Id id() {
    Id id;
    fill(id.bytes);
    return id;
  }
};

/// The kernel's generator through libsodium. sodium_init() is called by the constructor.
class SystemRandom final : public Random {
 public:
  SystemRandom();
  void fill(MutableBytes out) override;
};

}  // namespace atl
