// Which objects a store has, whose they are and where: a base file with all that was there at one moment
// (catalogue_base.h), a log of what changed since (catalogue_log.h), and in memory the changes only, so that a million
// objects cost a few megabytes. Once enough has changed, base and changes are folded into a new base, beside the work.
//
// A change is visible once its batch is flushed; those who come while a flush runs share the next one. Lookups take the
// lock for memory work only; the base is read without it. Two changes of one key never run at once: the second waits
// for the first.
//
// After a failed flush the log is written anew without the batch in doubt; until that succeeds nothing changes
// (Code::read_only). Thread-safe. Errors: corrupt where the catalogue itself is damaged, others as Disk.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_set>
#include <vector>

#include "engine/daemon/store/catalogue_log.h"

namespace atl {

class Catalogue {
 public:
  struct Listed {
    ObjectKey key;
    LiveObject object;
  };
  struct TrashEntry {
    std::uint64_t since_s = 0;
    std::uint64_t id = 0;
    std::uint64_t size = 0;
    TrashReason reason = TrashReason::removed;
  };

  /// Reads what lies in `folder`, or begins an empty catalogue there. Folding begins at `fold_at` changes, or at a
  /// quarter of the base if that is more. Code::corrupt: the caller may rebuild().
  static Result<std::unique_ptr<Catalogue>> open(Disk& disk, std::string folder, std::uint64_t fold_at,
                                                 StoreCounters& counters);
  /// Makes a new catalogue of these objects, durable once this returns, in place of all that lies in `folder`.
  static Result<> rebuild(Disk& disk, const std::string& folder, const std::map<ObjectKey, LiveObject>& objects,
                          BaseFacts facts);

  Result<std::optional<LiveObject>> find(const ObjectKey& key);
  /// Objects with `prefix` (a key's) that come after `after`, in order.
  Result<std::vector<Listed>> page(const ObjectKey& prefix, const ObjectKey& after, std::size_t limit);

  /// Puts one object under a free key; durable once this returns. Code::exists if the key is taken. `doubt` is set if
  /// it failed such that a crash may yet show the object: its file must stay.
  Result<> put(const ObjectKey& key, const LiveObject& object, bool* doubt);
  struct Removal {
    ObjectKey key;
    std::uint64_t id = 0;  // only this object; 0: whatever stands there
    TrashReason reason = TrashReason::removed;
  };
  /// Moves objects to the trash; durable once this returns. What is not there is passed over.
  Result<> trash(const std::vector<Removal>& removals);
  /// Takes objects, whose files are gone already, out of the trash. Durable once this returns.
  Result<> forget(const std::vector<TrashEntry>& entries);
  /// Out of the trash under its name again. Code::exists if the key is taken, not_found if it is not in the trash.
  Result<> restore(const ObjectKey& key, const TrashEntry& entry);
  /// At most `limit` entries of the trash since before `before_s`, oldest first.
  std::vector<TrashEntry> trash_before(std::uint64_t before_s, std::size_t limit);
  /// All of one account's, newest first.
  std::vector<TrashEntry> trash_of(const AccountId& account);

  AccountTotals totals(const AccountId& account);
  /// Charged bytes of all objects and of the trash.
  std::uint64_t used_bytes();

  /// A number for a new object; it counts as begun until end(). Numbers are never used again.
  std::uint64_t begin();
  void end(std::uint64_t id);
  /// Files of objects with numbers from here on that were there at the start and are not named are leftovers of a
  /// crash, until leftovers_gone().
  std::uint64_t floor_id();
  void leftovers_gone();
  /// New objects get numbers from `id` on, and from the start of a directory.
  void begin_numbers_at(std::uint64_t id);
  /// New objects get numbers from the next directory on: the present one failed.
  void next_directory();

  /// The store's clock: seconds that it was open, all in all.
  std::uint64_t clock_s() const { return clock_s_; }
  void advance_clock(std::uint64_t seconds) { clock_s_ += seconds; }
  /// Makes the clock durable, so that a restart goes on from here.
  Result<> save_clock();

  /// Folds if it is due. Takes seconds with millions of objects; all other calls go on.
  Result<> fold_if_due();
  std::string trouble();

 private:
  using Delta = std::map<ObjectKey, LiveObject, std::less<>>;  // id 0: gone
  struct Snapshot {
    std::shared_ptr<const CatalogueBase> base;
    std::shared_ptr<const Delta> frozen;
    std::uint64_t generation = 0;
  };
  struct Pending {
    std::vector<CatalogueChange> changes;
    bool done = false;
    Result<> result;
  };
  using Decide = std::function<Result<std::vector<CatalogueChange>>(const std::vector<LiveObject>&)>;
  struct Fold {
    std::uint64_t number = 0;
    BaseFacts facts;
  };
  struct Account {
    AccountId id;
    AccountTotals totals;
  };
  struct Trashed {
    Account* account = nullptr;
    std::uint64_t size = 0;
    TrashReason reason = TrashReason::removed;
  };
  using TrashPlace = std::pair<std::uint64_t, std::uint64_t>;  // since_s, id

  Catalogue(Disk& disk, std::string folder, std::uint64_t fold_at, StoreCounters& counters)
      : disk_(disk), folder_(std::move(folder)), fold_at_(fold_at), counters_(counters) {}
  Result<> load();
  Account& account(const AccountId& id);
  void add_trash(const TrashObject& object);
  void apply(const CatalogueChange& change);
  Snapshot snapshot();
  /// What base and frozen changes say of a key.
  Result<LiveObject> find_in(const Snapshot& snapshot, const ObjectKey& key);
  /// Calls `decide` with the lock held and what stands under each key; what it returns is made durable, and applied.
  Result<> change(const std::vector<ObjectKey>& keys, const Decide& decide, bool* doubt);
  void flush_batch();
  bool has_pending();
  Result<> mend_log();
  Result<> freeze();

  Disk& disk_;
  const std::string folder_;
  const std::uint64_t fold_at_;
  StoreCounters& counters_;
  std::atomic<std::uint64_t> clock_s_{0};

  std::mutex flush_mutex_;  // taken before mutex_; guards the log, and held while it is written
  std::unique_ptr<CatalogueLog> log_;
  bool log_broken_ = false;

  std::mutex mutex_;  // guards the rest
  std::shared_ptr<const CatalogueBase> base_;
  std::shared_ptr<const Delta> frozen_;
  Delta active_;
  std::uint64_t log_changes_ = 0;  // since the last fold began
  std::uint64_t generation_ = 0;  // grows when base_ or frozen_ change
  std::map<AccountId, Account> accounts_;
  std::map<TrashPlace, Trashed> trash_;
  std::uint64_t used_bytes_ = 0;
  std::uint64_t next_id_ = 1;
  std::set<std::uint64_t> begun_;
  std::optional<std::uint64_t> leftover_floor_;  // while leftovers of earlier runs may lie there
  std::unordered_set<ObjectKey> claims_;         // keys with a change in flight
  std::vector<std::shared_ptr<Pending>> pending_;
  std::string trouble_;
  std::string damage_;  // that was met in the base since it was opened

  std::mutex fold_mutex_;  // one fold at a time; taken before the others
  std::optional<Fold> fold_;  // begun: frozen_ waits to be folded
};

}  // namespace atl
