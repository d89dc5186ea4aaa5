// Byte buffers and views, and their hexadecimal form. Views never own; the owner outlives them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"

namespace atl {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;
using MutableBytes = std::span<std::uint8_t>;

/// The bytes of a text, without a copy.
inline ByteView as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

/// Bytes as a text, without a copy.
inline std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Lower-case hexadecimal, two digits a byte.
std::string to_hex(ByteView bytes);

/// The inverse of to_hex, either case. Code::invalid for an odd length or another character.
Result<Bytes> from_hex(std::string_view text);

/// A byte count for people: "512 B", "1.5 MiB".
std::string human_bytes(std::uint64_t count);

/// Parses "64", "64K", "64KiB", "1.5G", "2T"; powers of 1024. Code::invalid otherwise.
Result<std::uint64_t> parse_bytes(std::string_view text);

}  // namespace atl
