#include "cache/care/care_state.h"

#include <sodium.h>

#include <algorithm>
#include <bit>

#include "engine/base/codec.h"

namespace atl {
namespace {

constexpr std::string_view magic = "ATLCARE";
constexpr std::uint16_t version = 1;
constexpr std::size_t hash_bytes = 32;
constexpr std::size_t head_bytes = 8 + 2;

Bytes hash_of(ByteView bytes) {
  Bytes hash(hash_bytes);
  crypto_generichash(hash.data(), hash.size(), bytes.data(), bytes.size(), nullptr, 0);
  return hash;
}

void put_real(Encoder& out, double value) { out.u64(std::bit_cast<std::uint64_t>(value)); }
double get_real(Decoder& in) { return std::bit_cast<double>(in.u64()); }

void put_home(Encoder& out, const AttemptId& attempt, const ShardHome& home) {
  out.id(attempt);
  out.u8(home.shard.value);
  out.id(home.node);
}

ShardHome get_home(Decoder& in) {
  const ShardIndex shard(in.u8());
  return {shard, in.id<NodeId>()};
}

}  // namespace

std::string care_path(const std::string& directory) { return directory + "/care"; }

Bytes encode_care(const CareState& state, const VolumeId& volume) {
  Bytes bytes;
  Encoder out(bytes);
  out.raw(as_bytes(magic));
  out.u8(0);
  out.u16(version);
  out.id(volume);
  out.varint(state.node_seconds);
  out.varint(state.losses);
  out.u8(state.checked_up_to ? 1 : 0);
  out.varint(state.checked_up_to ? state.checked_up_to->value : 0);
  out.varint(state.nodes.size());
  for (const auto& [node, memory] : state.nodes) {
    const Reputation::Numbers numbers = memory.reputation.numbers();
    out.id(node);
    put_real(out, numbers.alpha);
    put_real(out, numbers.beta);
    for (const std::uint64_t count : {numbers.right, numbers.wrong, numbers.late, numbers.silent, numbers.since_wrong}) out.varint(count);
    out.u8(static_cast<std::uint8_t>((memory.away_since ? 1 : 0) | (memory.counted_lost ? 2 : 0)));
    out.varint(memory.away_since.value_or(0));
  }
  out.varint(state.bad.size());
  for (const auto& [attempt, home] : state.bad) put_home(out, attempt, home);
  out.varint(state.pending.size());
  for (const PendingAudit& audit : state.pending) {
    put_home(out, audit.attempt, audit.home);
    out.varint(audit.leaf);
    out.varint(audit.tries);
  }
  out.raw(hash_of(bytes));
  return bytes;
}

Result<CareState> decode_care(ByteView bytes, const VolumeId& volume) {
  const auto damaged = [] { return fail(Code::corrupt, "what was remembered of the nodes is damaged"); };
  if (bytes.size() < head_bytes + VolumeId::size + hash_bytes) return damaged();
  const ByteView content = bytes.first(bytes.size() - hash_bytes);
  const Bytes hash = hash_of(content);
  if (!std::equal(hash.begin(), hash.end(), bytes.end() - static_cast<std::ptrdiff_t>(hash_bytes))) return damaged();
  if (!std::equal(magic.begin(), magic.end(), content.begin()) || content[magic.size()] != 0) return damaged();
  Decoder in(content.subspan(magic.size() + 1));
  if (const std::uint16_t found = in.u16(); found != version)
    return fail(Code::newer_format, "what was remembered of the nodes has format " + std::to_string(found));
  if (in.id<VolumeId>() != volume) return damaged();
  CareState state;
  state.node_seconds = in.varint();
  state.losses = in.varint();
  const bool checking = in.u8() == 1;
  const SegmentId checked(in.varint());
  if (checking) state.checked_up_to = checked;
  const std::uint64_t nodes = in.varint();
  for (std::uint64_t i = 0; i < nodes && in.ok(); ++i) {
    const NodeId node = in.id<NodeId>();
    Reputation::Numbers numbers;
    numbers.alpha = get_real(in);
    numbers.beta = get_real(in);
    for (std::uint64_t* count : {&numbers.right, &numbers.wrong, &numbers.late, &numbers.silent, &numbers.since_wrong}) *count = in.varint();
    NodeMemory memory;
    memory.reputation = Reputation::of(numbers);
    const std::uint8_t flags = in.u8();
    const std::uint64_t since = in.varint();
    if ((flags & 1) != 0) memory.away_since = since;
    memory.counted_lost = (flags & 2) != 0;
    state.nodes.emplace(node, memory);
  }
  const std::uint64_t bad = in.varint();
  for (std::uint64_t i = 0; i < bad && in.ok(); ++i) {
    const AttemptId attempt = in.id<AttemptId>();
    state.bad.emplace(attempt, get_home(in));
  }
  const std::uint64_t pending = in.varint();
  for (std::uint64_t i = 0; i < pending && in.ok(); ++i) {
    PendingAudit audit;
    audit.attempt = in.id<AttemptId>();
    audit.home = get_home(in);
    audit.leaf = static_cast<std::uint32_t>(in.varint());
    audit.tries = static_cast<unsigned>(in.varint());
    state.pending.push_back(audit);
  }
  if (!in.done()) return damaged();
  return state;
}

}  // namespace atl
