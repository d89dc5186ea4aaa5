// Shapes and names: what follows from numbers and ids alone, without touching a segment's bytes.
#include <sodium.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstring>

#include "cache/erasure/shard_codec.h"
#include "engine/base/mutant.h"

namespace atl {

namespace {

constexpr std::string_view shard_magic = "atollshd";
constexpr std::uint8_t shard_format_number = 1;

std::uint64_t divide_up(std::uint64_t value, std::uint64_t by) {
  return (value + by - 1) / by;
}

std::uint64_t full_leaves(Redundancy redundancy) {
  return segment_bytes_max / (std::uint64_t{redundancy.k} * leaf_bytes);
}

std::array<std::uint8_t, 32> keyed_hash(const SecretKey& key, std::initializer_list<ByteView> parts) {
  std::array<std::uint8_t, 32> hash;
  crypto_generichash_state state;
  crypto_generichash_init(&state, key.data(), SecretKey::size, hash.size());
  for (const ByteView part : parts) crypto_generichash_update(&state, part.data(), part.size());
  crypto_generichash_final(&state, hash.data(), hash.size());
  return hash;
}

}  // namespace

std::uint64_t ShardGeometry::segment_capacity(Redundancy redundancy) {
  assert(redundancy.k >= 1 && redundancy.k <= redundancy.n);
  return divide_up(full_leaves(redundancy), 2) * redundancy.k * leaf_bytes;  // the class of 8 sixteenths
}

ShardGeometry ShardGeometry::of(Redundancy redundancy, std::uint64_t segment_bytes) {
  assert(redundancy.k >= 1 && redundancy.k <= redundancy.n);
  assert(segment_bytes <= segment_bytes_max);
  const std::uint64_t needed =
      std::max<std::uint64_t>(1, divide_up(segment_bytes, std::uint64_t{redundancy.k} * leaf_bytes));
  const std::uint64_t full = full_leaves(redundancy);
  const std::uint64_t sixteenth = divide_up(full, 16);
  std::uint64_t leaves = needed;
  if (needed < sixteenth) {
    leaves = std::min(std::bit_ceil(needed), sixteenth);
  } else if (needed <= full) {
    for (std::uint64_t part = divide_up(16 * (needed - 1) + 1, full); part <= 16; ++part) {
      leaves = divide_up(full * part, 16);
      if (leaves >= needed) break;
    }
  }
  assert(leaves >= needed);
  return {redundancy, segment_bytes, static_cast<std::uint32_t>(leaves)};
}

std::vector<ShardGeometry::Run> ShardGeometry::cover(std::uint64_t offset, std::uint64_t length) const {
  const std::uint64_t payload = payload_bytes();
  assert(offset <= redundancy.k * payload && length <= redundancy.k * payload - offset);
  std::vector<Run> runs;
  const std::uint64_t end = offset + length;
  while (offset < end) {
    const std::uint64_t shard = offset / payload;
    const std::uint64_t start = shard * payload;
    const std::uint64_t stop = std::min(end, start + payload);
    const std::uint64_t first_leaf = (offset - start) / leaf_bytes;
    const std::uint64_t last_leaf = (stop - 1 - start) / leaf_bytes;
    runs.push_back({ShardIndex(static_cast<std::uint8_t>(shard)), static_cast<std::uint32_t>(first_leaf),
                    static_cast<std::uint32_t>(last_leaf - first_leaf + 1), start + first_leaf * leaf_bytes});
    offset = stop;
  }
  return runs;
}

std::array<std::uint8_t, shard_header_bytes> shard_header() {
  std::array<std::uint8_t, shard_header_bytes> header{};
  std::memcpy(header.data(), shard_magic.data(), shard_magic.size());
  header[shard_magic.size()] = shard_format_number;
  return header;
}

Result<> check_shard_header(ByteView header) {
  if (header.size() < shard_header_bytes || as_text(header.first(shard_magic.size())) != shard_magic)
    return fail(Code::corrupt, "this is not a shard: its header is missing");
  const std::uint8_t format = header[shard_magic.size()];
  if (format > shard_format_number)
    return fail(Code::newer_format,
                "the shard has format " + std::to_string(format) + "; this version reads up to " +
                    std::to_string(shard_format_number),
                "use a newer version of atoll");
  if (!std::ranges::equal(header.first(shard_header_bytes), shard_header()))
    return fail(Code::corrupt, "the shard's header is damaged");
  return {};
}

std::string shard_object_prefix(const SecretKey& name_key, const NodeId& node) {
  return to_hex(ByteView(keyed_hash(name_key, {as_bytes("shard-prefix"), node.view()})).first(5));
}

std::string shard_object_name(const SecretKey& name_key, const AttemptId& attempt, ShardIndex shard,
                              const NodeId& node) {
  const auto hash = keyed_hash(name_key, {as_bytes("shard-name"), mutant("name-of-every-attempt") ? ByteView() : attempt.view(), {&shard.value, 1}, node.view()});
  return shard_object_prefix(name_key, node) + to_hex(ByteView(hash).first(20));
}

}  // namespace atl
