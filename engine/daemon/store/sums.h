// Checksums of what lies in a data folder: the first bytes of BLAKE2b-256 over pieces one after the other. They find
// rot and misplaced bytes, not enemies.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>

#include "engine/base/bytes.h"

namespace atl {

using Sum8 = std::array<std::uint8_t, 8>;
using Sum16 = std::array<std::uint8_t, 16>;

Sum8 sum8(std::initializer_list<ByteView> pieces);
Sum16 sum16(std::initializer_list<ByteView> pieces);

/// A u64 as its eight little-endian bytes, for binding a sum to a place.
std::array<std::uint8_t, 8> place_bytes(std::uint64_t value);

}  // namespace atl
