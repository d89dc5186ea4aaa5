// What an owner tells its delegate of the drive: which segments there are, where their shards lie, what verifies them, and
// the nodes. FORMAT.md, "Delegates". Values; not thread-safe. MAC keys lie in ordinary memory: there is one for each segment.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "cache/index/rows.h"
#include "engine/base/clock.h"

namespace atl {

struct DelegatedNode {
  NodeSpec spec;            // `draining`: is to be emptied, and gets nothing new
  std::string certificate;  // PEM; empty where the node asks for none
  friend bool operator==(const DelegatedNode&, const DelegatedNode&) = default;
};

struct DelegatedSegment {
  AttemptId attempt;
  std::uint8_t k = 0;
  std::uint8_t n = 0;
  std::uint8_t protect_min = 0;
  std::uint64_t shipped_bytes = 0;
  std::array<std::uint8_t, 32> mac_key{};  // of this attempt's leaves alone
  std::vector<ShardHome> placed;           // sorted
  friend bool operator==(const DelegatedSegment&, const DelegatedSegment&) = default;
};

struct DelegateView {
  VolumeId volume;
  Timestamp made_at;
  std::uint64_t repair_grace_seconds = 0;
  std::vector<DelegatedNode> nodes;
  std::map<SegmentId, DelegatedSegment> segments;
  friend bool operator==(const DelegateView&, const DelegateView&) = default;
};

Bytes encode_delegate_view(const DelegateView& view);
/// Code::corrupt, newer_format.
Result<DelegateView> decode_delegate_view(ByteView in);

/// A shard that a delegate stored, or was about to store.
struct DelegatedMove {
  SegmentId segment;
  AttemptId attempt;
  ShardIndex shard;
  NodeId from;
  NodeId to;
  bool stored = false;  // else its object may lie there, or not
  friend bool operator==(const DelegatedMove&, const DelegatedMove&) = default;
};

struct DelegateReport {
  VolumeId volume;
  Timestamp made_at;
  std::vector<DelegatedMove> moves;
  friend bool operator==(const DelegateReport&, const DelegateReport&) = default;
};

Bytes encode_delegate_report(const DelegateReport& report);
/// Code::corrupt, newer_format.
Result<DelegateReport> decode_delegate_report(ByteView in);

}  // namespace atl
