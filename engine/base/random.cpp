#include "engine/base/random.h"

#include <sodium.h>

#include <stdexcept>

namespace atl {

SystemRandom::SystemRandom() {
  if (sodium_init() < 0) throw std::runtime_error("libsodium could not be initialised");
}

void SystemRandom::fill(MutableBytes out) {
  if (!out.empty()) randombytes_buf(out.data(), out.size());  // which takes no null, not even for nothing
}

}  // namespace atl
