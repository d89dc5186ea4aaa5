// How a segment becomes n shards, any k of which give it back.
//
// A segment of S bytes is laid out contiguously in k data shards of equal payload (padded with zeros); m = n - k parity
// shards follow by Reed-Solomon over GF(2^8) (ISA-L, Cauchy matrix, systematic). A payload is cut into leaves of
// leaf_bytes; each leaf is followed in the object by its 16-byte MAC, so that one range request brings verifiable
// bytes:
//
//     object = header (shard_header_bytes) | leaf 0 | MAC 0 | leaf 1 | MAC 1 | ...
//
// The code works leaf by leaf: leaf j of a missing shard needs leaf j of any k others. Payload sizes fall into few
// classes (sixteenths of a full shard, powers of two of leaves below), so that sizes tell nodes little. A full shard is
// that of the largest segment within segment_bytes_max that fills k shards to the last leaf. Up to k leaves more are one
// class of their own. Segments are filled to half of that, segment_capacity(): they pay n/k and the MACs, nothing else.
// Leaf MAC: Poly1305 under a one-time key derived from (shard MAC key, volume, attempt, shard, leaf).
// Thread-safe; spans must not overlap.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cache/keys/keyring.h"
#include "engine/base/bytes.h"
#include "engine/base/ids.h"
#include "engine/base/result.h"
#include "engine/engine.h"

namespace atl {

inline constexpr std::uint32_t leaf_bytes = 16 * 1024;
inline constexpr std::uint32_t leaf_mac_bytes = 16;
inline constexpr std::uint32_t shard_header_bytes = 16;  // magic and version only: a node learns no more
inline constexpr std::uint64_t segment_bytes_max = 32ull * 1024 * 1024;

/// k data shards of n; 1 <= k <= n <= 255.
struct Redundancy {
  std::uint8_t k = 0;
  std::uint8_t n = 0;
  friend auto operator<=>(const Redundancy&, const Redundancy&) = default;
};

/// Shape of one attempt; a function of its three inputs.
struct ShardGeometry {
  Redundancy redundancy;
  std::uint64_t segment_bytes = 0;
  std::uint32_t leaves = 0;  // per shard, by size class

  /// `segment_bytes` is at most segment_bytes_max; an empty segment takes a leaf a shard like the smallest.
  static ShardGeometry of(Redundancy redundancy, std::uint64_t segment_bytes);
  /// The capacity to give a segment that will be encoded so: half of the largest that the format knows, without padding.
  /// An upload holds n/k of it in memory.
  static std::uint64_t segment_capacity(Redundancy redundancy);

  std::uint64_t payload_bytes() const { return std::uint64_t{leaves} * leaf_bytes; }
  std::uint64_t object_bytes() const {
    return shard_header_bytes + std::uint64_t{leaves} * (leaf_bytes + leaf_mac_bytes);
  }
  /// Where leaf `leaf` and its MAC start in the object.
  static std::uint64_t leaf_offset(std::uint32_t leaf) {
    return shard_header_bytes + std::uint64_t{leaf} * (leaf_bytes + leaf_mac_bytes);
  }

  /// A run of leaves of one data shard that covers a part of a segment range.
  struct Run {
    ShardIndex shard;
    std::uint32_t first_leaf = 0;
    std::uint32_t leaf_count = 0;
    std::uint64_t segment_offset = 0;  // of the run's first byte
  };
  /// The part of the segment that data shard `shard` holds: where it begins, and its bytes; none behind the segment's end.
  std::pair<std::uint64_t, std::uint64_t> part(ShardIndex shard) const;
  /// The runs that cover [offset, offset + length) of the segment, in order. The range lies within k payloads.
  std::vector<Run> cover(std::uint64_t offset, std::uint64_t length) const;
};

/// MACs of the leaves of one attempt.
class LeafMacs {
 public:
  LeafMacs(const SecretKey& shard_mac_key, const VolumeId& volume, const AttemptId& attempt);
  ~LeafMacs();
  LeafMacs(LeafMacs&&) noexcept;
  LeafMacs& operator=(LeafMacs&&) noexcept;

  void compute(ShardIndex shard, std::uint32_t leaf, ByteView payload,
               std::span<std::uint8_t, leaf_mac_bytes> mac) const;
  /// Checks `count` leaves, each followed by its MAC, as they came from a node (no header). Constant time per leaf.
  bool verify(ShardIndex shard, std::uint32_t first_leaf, std::uint32_t count, ByteView answer) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// What one data shard holds of the segment (ShardGeometry::part), and what keeps those bytes in memory.
struct ShardContent {
  ByteView bytes;
  std::shared_ptr<const void> owner;
};
/// The k parts of a segment that lies in memory as a whole, which `owner` keeps.
std::vector<ShardContent> cut_shards(const ShardGeometry& geometry, ByteView segment, const std::shared_ptr<const void>& owner);

/// All n objects of one attempt, as gather lists over the caller's segment and memory of its own: parity objects (m
/// shards), MACs, and at most one padded leaf.
class EncodedSegment {
 public:
  /// `data`: k of them, whose bytes do not change while they are kept.
  EncodedSegment(const ShardGeometry& geometry, std::vector<ShardContent> data, const LeafMacs& macs);
  ~EncodedSegment();
  /// Outlives this. Empty once the shard was released.
  ObjectBody object(ShardIndex shard) const;
  /// Gives up what no other shard needs: the part of the segment, or the parity. Its memory goes with the last object.
  void release(ShardIndex shard);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// Rebuilds leaves. `available`: at least k distinct shards' leaf runs without MACs, equally long (a multiple of
/// leaf_bytes); writes the same run of shard `wanted` (data or parity) to `rebuilt`, which is as long. Decode matrices are
/// cached. Code::too_few_nodes with fewer than k.
Result<> rebuild_leaves(Redundancy redundancy, ShardIndex wanted, const std::vector<std::pair<ShardIndex, ByteView>>& available,
                        MutableBytes rebuilt);

/// The first bytes of every shard object.
std::array<std::uint8_t, shard_header_bytes> shard_header();
/// Code::newer_format naming the version; corrupt if the object does not begin as a shard.
Result<> check_shard_header(ByteView header);

/// Takes the MACs out of a verified answer: leaves only, contiguous.
Bytes strip_macs(ByteView answer);

/// The name of an object on one node: the node's class prefix (10 hex digits, secret, different per node) and 40 hex
/// digits that only holders of the key can derive from the attempt.
std::string shard_object_name(const SecretKey& name_key, const AttemptId& attempt, ShardIndex shard,
                              const NodeId& node);
/// The listable prefix of all shard objects of this drive on one node.
std::string shard_object_prefix(const SecretKey& name_key, const NodeId& node);

}  // namespace atl
