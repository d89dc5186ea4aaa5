// Brings ranges of shipped segments back from nodes: verified leaf by leaf, decoded where the systematic shard does not
// answer, kept in the local cache.
//
// What a reader is to read next is brought with what it reads first. Sequential readers get read-ahead besides: a fetch that begins where the last one of its segment ended asks for twice as
// much, up to a bound, but not for what is here or under way. Two readers of one range share one fetch. Thread-safe;
// fetch() waits for nodes.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <vector>

#include "cache/drive/core.h"
#include "cache/keys/keyring_shard_keys.h"

namespace atl {

class SegmentFetcher {
 public:
  explicit SegmentFetcher(DriveCore& core) : core_(core) {}

  enum class Local {
    missing,   // the caller saw that it is not here; what another reader brought since will do
    distrusted
  };
  /// Reads [offset, +out.size()) of a segment with this row; the reader goes on to `until` if that lies behind.
  /// Code::unavailable without an engine or attempt, too_few_nodes, timed_out, cancelled, corrupt.
  Result<> fetch(SegmentId id, const SegmentRow& row, std::uint64_t offset, MutableBytes out, std::uint64_t until, Local local,
                 MonotonicTime deadline, const std::stop_token& stop);

 private:
  struct Flight {
    std::uint64_t begin = 0, end = 0;  // in the segment
    bool landed = false;
    Result<Bytes> bytes;               // of [begin, end) once landed
  };
  struct Window {
    std::uint64_t next = 0;   // where a sequential reader would go on
    std::uint64_t length = 0;
  };

  /// What to fetch where a reader wants [offset, until).
  std::pair<std::uint64_t, std::uint64_t> widen(SegmentId id, const SegmentRow& row, std::uint64_t offset, std::uint64_t until);
  /// Where what is to be fetched ends at `end` at the latest, and beyond `must` no block that is here or under way is part of it.
  std::uint64_t until_known(SegmentId id, const SegmentFile* here, std::uint64_t must, std::uint64_t end);
  /// The MACs of an attempt; those of the last few are kept.
  Result<std::shared_ptr<const AttemptMacs>> macs_of(const AttemptId& attempt);
  /// Asks nodes; blocks until all runs are there.
  Result<Bytes> ask_nodes(SegmentId id, const SegmentRow& row, std::uint64_t begin, std::uint64_t end, Local local, MonotonicTime deadline,
                          const std::stop_token& stop);
  /// Where `run` had to be rebuilt from k shards, these give the same leaves of all other data shards as well: into the
  /// cache with them, or each would be fetched k times. `leaves`: verified, without MACs.
  Result<> keep_others(SegmentId id, const SegmentRow& row, const ShardGeometry& geometry, const ShardGeometry::Run& run,
                       const std::vector<std::pair<ShardIndex, ByteView>>& leaves);

  DriveCore& core_;
  std::mutex mutex_;
  std::map<SegmentId, std::list<std::shared_ptr<Flight>>> flights_;
  std::map<SegmentId, Window> windows_;
  std::optional<KeyringShardKeys> keys_;  // once made, never changed
  std::list<std::pair<AttemptId, std::shared_ptr<const AttemptMacs>>> macs_;  // most recent first
  // The last fetch of a segment that ran out of time, and when: a kernel whose read-ahead failed asks at once for
  // the page that it began with, and would wait for the same silent nodes once more.
  std::map<SegmentId, std::pair<std::shared_ptr<Flight>, MonotonicTime>> late_;
};

}  // namespace atl
