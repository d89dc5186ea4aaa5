#include "cache/heads/claim.h"

#include <algorithm>

#include "engine/base/codec.h"

namespace atl {

std::optional<Bytes> winning_claim(const std::map<Bytes, std::size_t>& held, std::size_t nodes) {
  std::size_t known = 0;
  const std::pair<const Bytes, std::size_t>* most = nullptr;
  for (const auto& entry : held) {  // in order, so that the first of equally many is the lowest
    known += entry.second;
    if (most == nullptr || entry.second > most->second) most = &entry;
  }
  if (most == nullptr || (most->second * 2 <= nodes && known < nodes)) return std::nullopt;
  return most->first;
}

Bytes encode_claim(const Claim& claim) {
  Bytes bytes;
  Encoder out(bytes);
  out.id(claim.device);
  if (!claim.from) return bytes;
  out.varint(claim.from->epoch);
  out.varint(claim.from->generation);
  out.id(claim.from->lsn);
  out.raw(claim.from->chain);
  return bytes;
}

Result<Claim> decode_claim(ByteView bytes) {
  Decoder in(bytes);
  Claim claim;
  claim.device = in.id<DeviceId>();
  if (in.ok() && !in.done()) {
    HistoryPoint from;
    from.epoch = static_cast<std::uint32_t>(in.varint());
    from.generation = in.varint();
    from.lsn = in.id<Lsn>();
    const ByteView chain = in.raw(from.chain.size());
    std::copy(chain.begin(), chain.end(), from.chain.begin());
    claim.from = from;
  }
  if (!in.done()) return fail(Code::corrupt, "a claim of an epoch is malformed");
  return claim;
}

}  // namespace atl
