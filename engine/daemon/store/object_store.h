// What a node daemon keeps for others: the objects of many accounts, whole, checked and counted, in one data folder.
//
// An object is stored whole or not at all, and durable before put succeeds; it carries checksums over every 16 KiB, so
// that ranges are verified too. Which objects exist is said by the catalogue (catalogue.h), never by a file alone: a
// crash leaves files that no one sees, and they are removed at the next start. Space is reserved before a body is
// read; a reservation lives in memory and ends with its ObjectUpload, so that nothing can leak.
//
// All calls block on the disk; all are thread-safe. No lock is held across a flush, or for longer than a page of a
// listing takes. Errors, unless a call says more:
//   invalid        the name is none (is_object_name in engine/node/node.h)
//   not_found      no such account, or the account has no such object
//   no_space       quota, capacity or the disk is full
//   corrupt        the object's bytes are rotten; it is no longer claimed from now on
//   io, read_only  the disk failed; read_only: it failed such that nothing is stored until it works again
// FORMAT.md, "Data folder of a node daemon", describes every byte.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/clock.h"
#include "engine/base/disk.h"
#include "engine/base/ids.h"
#include "engine/engine.h"

namespace atl {

using AccountId = StrongBytes<struct AccountTag, 32>;          // whose objects: the hash of the account's key
using ContentHash = StrongBytes<struct ContentHashTag, 32>;    // BLAKE2b-256 of an object's bytes, no key

/// The running ContentHash of bytes that come in pieces. One thread at a time.
class ContentHasher {
 public:
  ContentHasher();
  void add(ByteView bytes);
  ContentHash finish();

 private:
  alignas(64) std::array<std::uint8_t, 384> state_;  // crypto_generichash_state
};

ContentHash content_hash(ByteView bytes);

/// Somebody who may store here. One small file each; `blob` is the server's: devices, revocations, what it likes.
struct Account {
  AccountId id;
  std::uint64_t quota_bytes = 0;
  std::string label;  // for the node's owner to read
  Bytes blob;         // at most 64 KiB

  friend bool operator==(const Account&, const Account&) = default;
};

/// Of one account. An object counts as what its file takes on the disk: charged_bytes().
struct AccountUsage {
  AccountId id;
  std::string label;
  std::uint64_t quota_bytes = 0;
  std::uint64_t used_bytes = 0;      // objects
  std::uint64_t reserved_bytes = 0;  // by uploads that are running
  std::uint64_t trash_bytes = 0;     // beside the quota; at most as much again, or uploads are refused
  std::uint64_t objects = 0;
  std::uint64_t trash_objects = 0;
};

struct StoreUsage {
  std::uint64_t capacity_bytes = 0;
  std::uint64_t used_bytes = 0;  // objects and trash of all, and reservations
  std::uint64_t free_bytes = 0;  // by capacity and by the disk, whichever is less
};

/// Since the store was opened, for metrics. Each may be read at any time.
struct StoreCounters {
  std::atomic<std::uint64_t> puts{0};             // durable
  std::atomic<std::uint64_t> puts_repeated{0};    // of what was there already
  std::atomic<std::uint64_t> puts_refused{0};     // quota, capacity, conflict, wrong hash
  std::atomic<std::uint64_t> puts_failed{0};      // by the disk
  std::atomic<std::uint64_t> reads{0};
  std::atomic<std::uint64_t> read_bytes{0};
  std::atomic<std::uint64_t> written_bytes{0};
  std::atomic<std::uint64_t> removed{0};
  std::atomic<std::uint64_t> swept{0};            // out of the trash for good
  std::atomic<std::uint64_t> rotten{0};           // objects found rotten or gone, by reading or by scrubbing
  std::atomic<std::uint64_t> scrubbed_objects{0};
  std::atomic<std::uint64_t> scrubbed_bytes{0};
  std::atomic<std::uint64_t> scrub_rounds{0};     // whole passes that ended
  std::atomic<std::uint64_t> flushes{0};          // of the catalogue; fewer than puts where puts are many at once
  std::atomic<std::uint64_t> catalogue_failures{0};
  std::atomic<std::uint64_t> leftovers_removed{0};
};

/// What a whole scrub has seen so far.
struct ScrubReport {
  std::uint64_t objects = 0;
  std::uint64_t bytes = 0;
  std::uint64_t rotten = 0;  // gone or not what they were; the store has ceased to claim them
};

struct StoreOptions {
  std::uint64_t capacity_bytes = 0;              // objects, trash and reservations together stay below it
  Duration trash_for = std::chrono::hours(168);  // of the time that the store was open
  std::uint64_t scrub_bytes_per_second = 4 << 20;
  std::uint64_t fold_at = 0;                     // changes that are folded at once; 0: what suits large stores
};

/// An object being stored. One thread at a time; the store outlives it. Destroyed unfinished, it leaves nothing.
class ObjectUpload {
 public:
  virtual ~ObjectUpload() = default;
  /// The object is there already, with this very content: no body is needed, finish() succeeds.
  virtual bool already_there() const = 0;
  /// The next bytes of the body. Code::invalid beyond the size that was announced.
  virtual Result<> write(ByteView bytes) = 0;
  /// Success: the object is durable and visible. Once. Code::invalid: the body is shorter than announced or its hash
  /// another. Code::conflict: the name was taken meanwhile by other content.
  virtual Result<> finish() = 0;
};

/// An open object; reads go on although it is removed meanwhile. One thread at a time; the store outlives it.
class ObjectReader {
 public:
  virtual ~ObjectReader() = default;
  virtual std::uint64_t size() const = 0;
  virtual const ContentHash& hash() const = 0;
  /// Fills `out` from `offset`, less at the object's end; what is returned was verified. Code::corrupt: rot, and the
  /// store has ceased to claim the object. `out` may then hold anything.
  virtual Result<std::size_t> read(std::uint64_t offset, MutableBytes out) = 0;
};

class ObjectStore {
 public:
  static constexpr std::size_t list_max = 1000;  // names a page
  static constexpr std::size_t remove_max = 1000;
  static constexpr std::uint64_t object_bytes_max = std::uint64_t{1} << 30;

  /// Opens the folder and makes one of an empty or absent folder. The caller holds its FolderLock (server_folder.h).
  /// Code::newer_format by name; not_empty where other things lie; corrupt only if what it holds cannot be known.
  /// A damaged catalogue is built again from the objects' files, which takes long with many.
  static Result<std::unique_ptr<ObjectStore>> open(std::shared_ptr<Disk> disk, std::string folder, StoreOptions options,
                                                   const Clock& clock);
  virtual ~ObjectStore() = default;

  // --- accounts

  /// Adds or replaces; durable. Another process may do the same by write_account() while the store is open.
  virtual Result<> put_account(const Account& account) = 0;
  /// Reads its file: what another process wrote a moment ago is seen. A handful of microseconds.
  virtual Result<Account> account(const AccountId& id) = 0;
  /// All its objects go to the trash, then it is gone.
  virtual Result<> remove_account(const AccountId& id) = 0;
  virtual Result<std::vector<AccountUsage>> accounts() = 0;
  virtual Result<AccountUsage> account_usage(const AccountId& id) = 0;

  // --- objects

  /// Begins to store an object of `size` bytes with this hash and reserves the space for it. Code::conflict if the name
  /// holds other content; no_space; too_large beyond object_bytes_max.
  virtual Result<std::unique_ptr<ObjectUpload>> put(const AccountId& account, const std::string& name, std::uint64_t size,
                                              const ContentHash& hash) = 0;
  virtual Result<std::unique_ptr<ObjectReader>> get(const AccountId& account, const std::string& name) = 0;
  virtual Result<ObjectStat> stat(const AccountId& account, const std::string& name) = 0;
  /// Names that start with `prefix` and come after `after`, in byte order, at most `limit` and list_max.
  virtual Result<std::vector<std::string>> list(const AccountId& account, const std::string& prefix,
                                                const std::string& after, std::size_t limit) = 0;
  /// Moves objects to the trash, durably; missing ones count as removed. At most remove_max names.
  virtual Result<> remove(const AccountId& account, const std::vector<std::string>& names) = 0;
  /// Brings back what is in the account's trash and whose name is free, newest first, if it verifies. How many.
  virtual Result<std::size_t> restore(const AccountId& account) = 0;

  // --- upkeep

  /// Does what is due: removes what a crash left, empties the trash, scrubs at its rate, folds the catalogue. Call about
  /// once a second from one thread; returns after at most a few seconds of work.
  virtual Result<> maintain() = 0;
  /// Reads and verifies every object now, at the disk's pace; `go_on` is asked after each few of them. Code::cancelled if
  /// it said no. Beside maintain(), from any thread.
  virtual Result<ScrubReport> scrub_all(const std::function<bool(const ScrubReport&)>& go_on) = 0;
  virtual StoreUsage usage() = 0;
  virtual const StoreCounters& counters() const = 0;
  /// Why the store takes nothing, or empty.
  virtual std::string trouble() = 0;
};

/// What a stored object of `size` bytes counts as, against quota and capacity.
std::uint64_t charged_bytes(std::uint64_t size);

/// Adds or replaces an account in a data folder, whether a store has it open or not. The folder must be one.
Result<> write_account(Disk& disk, const std::string& folder, const Account& account);

}  // namespace atl
