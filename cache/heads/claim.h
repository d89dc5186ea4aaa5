// The claim of an epoch: who took the drive over, and from where in its history on. FORMAT.md, "Epochs". Values.
#pragma once

#include <map>
#include <optional>

#include "cache/heads/head.h"

namespace atl {

/// A head, and the place in the history that it stands for: all records up to `lsn`, and the journal's chain hash there.
struct HistoryPoint {
  std::uint32_t epoch = 0;
  std::uint64_t generation = 0;
  Lsn lsn;
  ChainHash chain{};
  static HistoryPoint of(const Head& head) { return {head.epoch, head.generation, head.lsn, head.chain}; }
  friend bool operator==(const HistoryPoint&, const HistoryPoint&) = default;
};

struct Claim {
  DeviceId device;
  /// The head that the new owner went on from; what its predecessor has beyond it, nobody took over. Absent in the
  /// first epoch, where there was none.
  std::optional<HistoryPoint> from;
};

/// Of several claims of one epoch, as `nodes` nodes hold them (encoded; how many hold which), the one that counts: that of a
/// majority; or, once every node holds one, that of most nodes, and of equally many the lowest bytes. What a node holds
/// never changes, so that all who can tell agree. Absent while it cannot be told.
std::optional<Bytes> winning_claim(const std::map<Bytes, std::size_t>& held, std::size_t nodes);

Bytes encode_claim(const Claim& claim);
/// Code::corrupt.
Result<Claim> decode_claim(ByteView bytes);

}  // namespace atl
