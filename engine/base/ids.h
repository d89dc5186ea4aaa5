// Strong types for ids and counts: an integer that could be two things is a bug waiting.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>

#include "engine/base/bytes.h"

namespace atl {

/// An integer with a meaning. Ordered and hashable; converts only by name.
template <typename Tag, typename Integer>
struct StrongInteger {
  Integer value = 0;

  constexpr StrongInteger() = default;
  constexpr explicit StrongInteger(Integer value_) : value(value_) {}
  friend constexpr auto operator<=>(StrongInteger, StrongInteger) = default;
  constexpr StrongInteger next() const { return StrongInteger(static_cast<Integer>(value + 1)); }
};

/// A random or derived identity of N bytes. Ordered and hashable.
template <typename Tag, std::size_t N>
struct StrongBytes {
  static constexpr std::size_t size = N;
  std::array<std::uint8_t, N> bytes{};

  friend auto operator<=>(const StrongBytes&, const StrongBytes&) = default;
  ByteView view() const { return bytes; }
  std::string hex() const { return to_hex(bytes); }

  /// Code::invalid unless the text is exactly N bytes in hexadecimal.
  static Result<StrongBytes> from_hex(std::string_view text) {
    auto raw = atl::from_hex(text);
    if (!raw) return fail(raw.error());
    if (raw->size() != N) return fail(Code::invalid, "an id of the wrong length");
    StrongBytes result;
    std::memcpy(result.bytes.data(), raw->data(), N);
    return result;
  }
};

using InodeNumber = StrongInteger<struct InodeTag, std::uint64_t>;
using ExtentId = StrongInteger<struct ExtentTag, std::uint64_t>;    // never used again
using SegmentId = StrongInteger<struct SegmentTag, std::uint64_t>;  // never used again
using Lsn = StrongInteger<struct LsnTag, std::uint64_t>;            // a journal record's place, from 1
using ShardIndex = StrongInteger<struct ShardTag, std::uint8_t>;    // 0..k-1 data, k..n-1 parity
using KeyEpoch = StrongInteger<struct KeyEpochTag, std::uint32_t>;

using VolumeId = StrongBytes<struct VolumeTag, 16>;
using AttemptId = StrongBytes<struct AttemptTag, 16>;  // one attempt to encode and upload a segment
using PartId = StrongBytes<struct PartTag, 16>;        // of a checkpoint or a stretch of the journal, on nodes
using NodeId = StrongBytes<struct NodeTag, 32>;        // written to a node once; hash of the key of a networked one

}  // namespace atl

template <typename Tag, typename Integer>
struct std::hash<atl::StrongInteger<Tag, Integer>> {
  std::size_t operator()(atl::StrongInteger<Tag, Integer> id) const noexcept {
    // Fibonacci hashing: sequential ids must not land in sequential buckets of a power-of-two table.
    return static_cast<std::size_t>(id.value) * 0x9E3779B97F4A7C15ull;
  }
};

template <typename Tag, std::size_t N>
struct std::hash<atl::StrongBytes<Tag, N>> {
  std::size_t operator()(const atl::StrongBytes<Tag, N>& id) const noexcept {
    std::size_t h;  // ids are uniformly random: their first bytes are a hash
    std::memcpy(&h, id.bytes.data(), sizeof h);
    return h;
  }
};
