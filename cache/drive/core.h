// What the parts of a drive share: its state, its lock, and how a change is logged.
//
// The state lock (`mutex`) guards every member below it. It is held for memory work and index reads only, never across a
// write, a flush or a wait. Lock order: commit lock (Committer) -> state lock -> locks inside SegmentWriter and
// SegmentStore.
#pragma once

#include <atomic>
#include <functional>
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
#include "cache/index/fold.h"
#include "cache/index/tables.h"
#include "cache/journal/journal.h"
#include "cache/journal/record.h"
#include "cache/sealing/extent_sealer.h"
#include "cache/sealing/frame_cipher.h"
#include "cache/staging/segment_store.h"

namespace atl {

/// Those who wait for the drive to change: staging drained, shards placed, garbage gone. Thread-safe.
class Waiters {
 public:
  /// Waits until `ready` (called without locks held by this) or the deadline; woken by wake(). False at the deadline
  /// or when `stop` was requested.
  bool wait(Runtime& runtime, std::optional<MonotonicTime> deadline, const std::stop_token& stop, const std::function<bool()>& ready);
  void wake();

 private:
  std::mutex mutex_;
  std::set<Event*> events_;
};

struct DriveCounters {
  std::atomic<std::uint64_t> commits{0};
  std::atomic<std::uint64_t> staged_reads{0};     // extents read from local disk
  std::atomic<std::uint64_t> node_extents{0};     // extents read through nodes
  std::atomic<std::uint64_t> rebuilt_leaves{0};   // that had to be decoded
  std::atomic<std::uint64_t> healed_extents{0};   // damaged on local disk, whole on nodes
  std::atomic<std::uint64_t> segments_shipped{0};
  std::atomic<std::uint64_t> segments_compacted{0};
  std::atomic<std::uint64_t> objects_removed{0};
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
  std::atomic<Engine*> engine{nullptr};
  Waiters changed;
  DriveCounters counters;
  std::atomic<std::uint64_t> next_extent{1};
  std::atomic<MonotonicTime> last_write{MonotonicTime{}};  // when somebody last waited for a write

  std::mutex mutex;  // the state lock; guards all that follows
  std::optional<Tables> tables;
  Bytes records;                   // logged, not yet in a commit
  std::uint32_t record_count = 0;
  Lsn last_lsn;                    // of the last record logged
  Lsn durable_lsn;
  std::uint64_t changes = 0;       // operations accepted, so far
  std::uint64_t durable_changes = 0;
  DirtyFiles dirty;
  /// Extents that are mapped, but whose frames are not on disk yet.
  std::unordered_map<ExtentId, std::shared_ptr<const Bytes>> sealing;
  std::unordered_map<InodeNumber, std::uint64_t> lookups;
  std::vector<std::function<void()>> after_durable;  // run once what was logged before is durable
  std::optional<Error> trouble;    // set once; from then on nothing changes any more
  bool journal_full = false;       // no room for records: only a commit that finds room clears it
  bool closing = false;
  std::uint64_t ran_base_seconds = 0;
  MonotonicTime opened_at;

  /// Logs and folds one record. State lock held. A contradiction is our own mistake and ends the drive's service.
  void log(const Record& record);
  /// Why no change is taken now, if so. State lock held.
  std::optional<Error> refusal() const;
  /// Takes the first trouble; later ones are its consequences. State lock held.
  void fail_stop(Error error);
  std::uint64_t ran_seconds() const;  // state lock held
  const ExtentSealer& sealer(KeyEpoch epoch);  // throws IndexFailure for an unknown epoch

 private:
  std::mutex sealers_mutex_;
  std::unordered_map<KeyEpoch, std::unique_ptr<ExtentSealer>> sealers_;
};

}  // namespace atl
