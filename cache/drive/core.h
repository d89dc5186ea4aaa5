// What the parts of a drive share: its state, its lock, and how a change is logged.
//
// The state lock (`mutex`) guards every member below it. It is held for memory work and index reads only, never across a
// write, a flush or a wait. Lock order: commit lock (Committer) -> state lock -> locks inside SegmentWriter and
// SegmentStore.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "cache/drive/dirty_files.h"
#include "cache/drive/drive.h"
#include "cache/drive/segment_writer.h"
#include "cache/drive/ship_pace.h"
#include "cache/drive/times_told.h"
#include "cache/index/fold.h"
#include "cache/index/tables.h"
#include "cache/journal/journal.h"
#include "cache/journal/record.h"
#include "cache/sealing/extent_sealer.h"
#include "cache/sealing/frame_cipher.h"
#include "cache/staging/segment_store.h"
#include "engine/base/waiters.h"

namespace atl {

struct DriveCounters {
  std::atomic<std::uint64_t> commits{0};
  std::atomic<std::uint64_t> staged_reads{0};     // extents read from local disk
  std::atomic<std::uint64_t> node_extents{0};     // extents read through nodes
  std::atomic<std::uint64_t> rebuilt_leaves{0};   // that had to be decoded
  std::atomic<std::uint64_t> healed_extents{0};   // damaged on local disk, whole on nodes
  std::atomic<std::uint64_t> segments_shipped{0};
  std::atomic<std::uint64_t> segments_compacted{0};
  std::atomic<std::uint64_t> objects_removed{0};
  std::atomic<std::uint64_t> shards_rebuilt{0};   // from k others
  std::atomic<std::uint64_t> shards_moved{0};     // as they are
  std::atomic<std::uint64_t> care_read_bytes{0};  // for both
  std::atomic<std::uint64_t> shards_balanced{0};  // moved for order's sake
  std::atomic<std::uint64_t> balance_bytes{0};    // read and written for that
  std::atomic<std::uint64_t> care_written_bytes{0};
  std::atomic<std::uint64_t> audits{0};           // leaves that nodes were asked for
  std::atomic<std::uint64_t> audits_wrong{0};
  std::atomic<std::uint64_t> forks_seen{0};       // heads of an earlier owner, newer than what was recovered
};

/// What a head in the making still needs: extents that lived at its cut and die before their segment is on nodes.
struct Pins {
  std::set<SegmentId> segments;
  std::map<SegmentId, std::map<std::uint64_t, std::uint64_t>> died;  // frames: offset -> bytes
};

/// A leaf that did not verify when somebody read it.
struct Suspect {
  AttemptId attempt;
  ShardHome home;
  std::uint32_t leaf = 0;
};

struct DriveCore {
  DriveCore(DriveSeams seams_, std::string directory_, Keyring keyring_, DriveOptions options_);

  DriveSeams seams;
  const std::string directory;
  const Keyring keyring;
  const DriveOptions options;

  std::unique_ptr<IndexStore> index;
  std::unique_ptr<Journal> journal;  // guarded by the Committer's lock
  std::unique_ptr<SegmentStore> segments;
  std::unique_ptr<SegmentWriter> writer;
  std::unique_ptr<FrameCipher> frames;
  bool index_rebuilt = false;      // when the drive was opened, since it was damaged or gone
  std::atomic<Engine*> engine{nullptr};
  Waiters changed;
  std::mutex engine_nodes_mutex;  // held while the engine is told of its nodes; taken before the state lock
  DriveCounters counters;
  std::atomic<Lsn> published_lsn{Lsn{}};  // what a majority of the nodes holds a head for
  std::atomic<std::uint64_t> next_extent{1};
  std::atomic<MonotonicTime> last_write{MonotonicTime{}};  // when somebody last waited for a write

  std::mutex mutex;  // the state lock; guards all that follows
  std::optional<Tables> tables;
  Bytes records;                   // logged, not yet in a commit
  std::uint32_t record_count = 0;
  Lsn last_lsn;                    // of the last record logged
  Lsn durable_lsn;
  Lsn telling_lsn;                 // of the last record that a head must not lack
  std::optional<MonotonicTime> untold_since;  // the first such record that the last cut for a head did not have
  MonotonicTime told_last{};       // when the last one was logged
  Lsn placed_lsn;                  // of the last record that says where a shard lies; a head that lacks it finds k without it
  MonotonicTime placed_last{};     // when it was logged
  std::optional<Pins> pins;        // while a head is in the making
  std::uint64_t changes = 0;       // operations accepted, so far
  std::uint64_t durable_changes = 0;
  DirtyFiles dirty;
  /// Extents that are mapped, but whose frames are not on disk yet.
  std::unordered_map<ExtentId, std::shared_ptr<const Bytes>> sealing;
  TimesTold times_told;
  std::unordered_map<InodeNumber, std::uint64_t> lookups;
  std::vector<std::function<void()>> after_durable;  // run once what was logged before is durable
  std::optional<Error> trouble;    // set once; from then on nothing changes any more
  bool journal_full = false;       // no room for records: only a commit that finds room clears it
  bool closing = false;
  std::optional<Error> fenced;     // set once: another computer owns the drive
  std::optional<Untold> untold;    // known a moment after `fenced` is set
  std::set<SegmentId> in_care;      // shards of these are being moved or rebuilt
  std::set<SegmentId> strays_going; // strays of these are being removed
  std::uint64_t ran_base_seconds = 0;
  MonotonicTime opened_at;

  /// Logs and folds one record. State lock held. A contradiction is our own mistake and ends the drive's service.
  void log(const Record& record);
  /// Why no change is taken now, if so. State lock held.
  std::optional<Error> refusal() const;
  /// Takes the first trouble; later ones are its consequences. State lock held.
  void fail_stop(Error error);
  /// Another computer owns the drive: nothing changes any more, what is here stays. Takes the state lock.
  void fence(Error error);
  /// Whether extents of the segment died that a head in the making needs. State lock held.
  bool pinned_dead(SegmentId segment) const { return pins && pins->died.contains(segment); }
  bool pinned(SegmentId segment) const { return pins && pins->segments.contains(segment); }
  /// When what is less than a segment goes to the nodes.
  ShipPace::Limits ship_limits() const { return {options.ship_idle, options.ship_max, options.ship_interval}; }
  std::uint64_t ran_seconds() const;  // state lock held
  const ExtentSealer& sealer(KeyEpoch epoch);  // throws IndexFailure for an unknown epoch
  /// Somebody read a shard that did not verify: it will be audited. Any thread, no lock needed.
  void suspect(const Suspect& suspect);
  std::vector<Suspect> take_suspects();

 private:
  std::mutex suspects_mutex_;
  std::vector<Suspect> suspects_;
  std::mutex sealers_mutex_;
  std::unordered_map<KeyEpoch, std::unique_ptr<ExtentSealer>> sealers_;
};

}  // namespace atl
