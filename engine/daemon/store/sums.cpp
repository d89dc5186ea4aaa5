#include "engine/daemon/store/sums.h"

#include <sodium.h>

#include <algorithm>

namespace atl {

namespace {

template <std::size_t N>
std::array<std::uint8_t, N> first_bytes(std::initializer_list<ByteView> pieces) {
  crypto_generichash_state state;
  std::array<std::uint8_t, 32> whole;
  crypto_generichash_init(&state, nullptr, 0, whole.size());
  for (const ByteView piece : pieces) crypto_generichash_update(&state, piece.data(), piece.size());
  crypto_generichash_final(&state, whole.data(), whole.size());
  std::array<std::uint8_t, N> result;
  std::copy_n(whole.begin(), N, result.begin());
  return result;
}

}  // namespace

Sum8 sum8(std::initializer_list<ByteView> pieces) { return first_bytes<8>(pieces); }
Sum16 sum16(std::initializer_list<ByteView> pieces) { return first_bytes<16>(pieces); }

std::array<std::uint8_t, 8> place_bytes(std::uint64_t value) {
  std::array<std::uint8_t, 8> bytes;
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(value >> (8 * i));
  return bytes;
}

}  // namespace atl
