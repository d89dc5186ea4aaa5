// How large the objects of metadata on nodes may be, and the few sizes that they come in.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>

namespace atl {

/// Plain bytes of one object of metadata; nodes take any larger thing in parts.
inline constexpr std::size_t metadata_plain_bytes_max = 8u << 20;

/// The size to which an object of `whole` bytes is padded: at least 512, and sixteenths of the power of two below, which
/// are at most 6 % of padding, and few sizes.
constexpr std::size_t padded_object_bytes(std::size_t whole) {
  constexpr std::size_t object_bytes_min = 512;
  if (whole <= object_bytes_min) return object_bytes_min;
  const std::size_t step = std::max<std::size_t>(std::bit_floor(whole) / 16, 64);
  return (whole + step - 1) / step * step;
}

/// No object of metadata is larger: header, nonce, tag and length take less than the slack.
inline constexpr std::size_t metadata_object_bytes_max = padded_object_bytes(metadata_plain_bytes_max + 128);

}  // namespace atl
