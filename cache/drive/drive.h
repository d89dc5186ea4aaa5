// The drive: a file system whose every change is a journal record, whose bytes lie in segments, and whose state is the
// journal folded into an index. This is the cache's one face to fs/.
//
// Threads: every operation may be called from any number of threads at once. Metadata operations touch memory and at
// most the local index; they never wait for a node or a flush. read() may wait for nodes, write() for staging space,
// commit() for the local disk, each within its stated bound.
// Durability: an operation is visible at once; it is durable once a commit() that began after it has returned success.
// Lookup counts: each Attributes returned by lookup, make_*, link and by list_directory with attributes counts one
// lookup of that inode, which the caller gives back through forget(). An inode without names lives while it is counted.
// Errors: names as in POSIX; Code::read_only and fenced for changes a drive no longer takes; Code::corrupt and io for
// bytes that are gone or wrong (never wrong bytes as a success).
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "cache/care/care.h"
#include "cache/drive/types.h"
#include "cache/keys/keyring.h"
#include "engine/base/disk.h"
#include "engine/base/random.h"
#include "engine/base/result.h"
#include "engine/base/runtime.h"
#include "engine/engine.h"

namespace atl {

/// Everything the drive needs from outside; all outlive it.
struct DriveSeams {
  Disk& disk;
  Clock& clock;
  Random& random;
  Runtime& runtime;
};

struct DriveOptions {
  std::uint64_t staging_max = 8ull << 30;       // bytes only on this computer
  std::uint64_t cache_max = 4ull << 30;         // bytes of cached copies
  std::uint64_t disk_reserve = 256ull << 20;    // never filled: what the kernel may still hold dirty
  std::uint64_t dirty_max = 16ull << 20;        // written, not yet sealed, in memory; as much again while that is sealed
  Duration flush_interval = std::chrono::seconds(1);
  Duration read_timeout = std::chrono::seconds(30);
  Duration write_timeout = std::chrono::seconds(30);  // how long writers wait for staging to drain
  Duration gc_grace = std::chrono::hours(24);
  // Nodes get what is less than a segment, and are told of changes (ship_pace.h):
  Duration ship_idle = std::chrono::seconds(1);       // so long after the last change
  Duration ship_max = std::chrono::seconds(15);       // and under constant change so long after the first
  Duration ship_interval = std::chrono::seconds(60);  // but in the long run only once in so long, if nobody waits for it
  Duration repair_grace = std::chrono::hours(7 * 24);   // a node that is away may return: its shards are rebuilt after this
  Duration repair_patience = std::chrono::seconds(60);  // and even urgent repairs wait so long
  std::uint64_t care_bandwidth = 8ull << 20;            // bytes a second for repairs and moves
  bool read_only = false;
};

/// What init decides.
struct NewDrive {
  std::vector<NodeSpec> nodes;
  Redundancy redundancy;
  std::uint8_t protect_min = 0;  // r, k..n
  std::uint32_t uid = 0;         // owner of the root directory
  std::uint32_t gid = 0;
};

class Drive {
 public:
  /// Makes the journal and index of a new drive in `directory`, which exists and holds neither. On failure nothing is
  /// left. Keys are stored by whoever holds them (cache/drive/home.h).
  static Result<> create(DriveSeams seams, const std::string& directory, const Keyring& keyring, const NewDrive& drive);

  /// Recovers the state from disk: index, then the journal from the index's LSN; rebuilds a missing or damaged index.
  /// The caller holds the drive's lock. No node is touched; until start() the drive is offline.
  /// Code::corrupt, key, newer_format, no_space, io.
  static Result<std::unique_ptr<Drive>> open(DriveSeams seams, std::string directory, Keyring keyring, DriveOptions options);

  /// What an unmounted drive's index says, without keys or lock. Nodes have state absent (not asked).
  static Result<DriveStatus> peek(Disk& disk, const std::string& directory);

  virtual ~Drive() = default;

  /// Begins uploading, reclaiming and the periodic flush. `engine` was made for nodes() and outlives close().
  virtual void start(Engine& engine) = 0;
  virtual std::vector<NodeSpec> nodes() const = 0;
  /// Refuses new work, commits what was accepted (that within `bound`; uploads are abandoned, staged data stays), folds
  /// the index, and ends. Idempotent. Code::timed_out or the error of the commit.
  virtual Result<> close(Duration bound) = 0;

  // --- names ---
  virtual Result<Attributes> lookup(InodeNumber parent, std::string_view name) = 0;
  virtual void forget(InodeNumber inode, std::uint64_t count) = 0;
  virtual Result<Attributes> attributes(InodeNumber inode) = 0;
  /// Regular files, fifos, sockets, devices: `mode` has type and permission bits; umask and default ACL are applied.
  virtual Result<Attributes> make_node(InodeNumber parent, std::string_view name, std::uint32_t mode,
                                       std::uint64_t device, const Caller& caller) = 0;
  virtual Result<Attributes> make_directory(InodeNumber parent, std::string_view name, std::uint32_t mode, const Caller& caller) = 0;
  virtual Result<Attributes> make_symlink(InodeNumber parent, std::string_view name, std::string_view target, const Caller& caller) = 0;
  virtual Result<Attributes> link(InodeNumber inode, InodeNumber parent, std::string_view name) = 0;
  virtual Result<> unlink(InodeNumber parent, std::string_view name) = 0;
  virtual Result<> remove_directory(InodeNumber parent, std::string_view name) = 0;
  virtual Result<> rename(InodeNumber from, std::string_view from_name, InodeNumber to, std::string_view to_name, RenameMode mode) = 0;
  virtual Result<std::string> read_symlink(InodeNumber inode) = 0;
  /// Shows entries after `cookie` (0: from the start, "." and ".." first) until `visit` returns false; an entry for which
  /// it did counts no lookup. Called with internal locks held: `visit` only copies.
  virtual Result<> list_directory(InodeNumber directory, std::uint64_t cookie, bool with_attributes,
                                  const std::function<bool(const DirectoryEntry&)>& visit) = 0;

  // --- attributes ---
  virtual Result<Attributes> change_attributes(InodeNumber inode, const AttributeChange& change) = 0;
  virtual Result<Bytes> get_xattr(InodeNumber inode, std::string_view name) = 0;
  /// `clear_setgid` as the kernel asks for it with an ACL. Keeps mode bits and ACLs consistent.
  virtual Result<> set_xattr(InodeNumber inode, std::string_view name, ByteView value, SetXattrMode mode) = 0;
  virtual Result<std::vector<std::string>> list_xattrs(InodeNumber inode) = 0;
  virtual Result<> remove_xattr(InodeNumber inode, std::string_view name) = 0;

  // --- bytes ---
  /// Reads up to out.size() bytes; fewer only at the end of the file. `update_atime`: relatime rules apply.
  /// Code::timed_out or too_few_nodes when nodes are needed and do not answer, cancelled through `stop`.
  virtual Result<std::size_t> read(InodeNumber inode, std::uint64_t offset, MutableBytes out, bool update_atime, std::stop_token stop) = 0;
  /// Accepts all of `in` or fails. Waits within write_timeout for staging space; Code::no_space after that.
  virtual Result<> write(InodeNumber inode, std::uint64_t offset, ByteView in, std::stop_token stop) = 0;
  virtual Result<> fallocate(InodeNumber inode, FallocateMode mode, std::uint64_t offset, std::uint64_t length) = 0;
  /// Code::no_attribute is never given; beyond the end: Code::not_found (ENXIO).
  virtual Result<std::uint64_t> seek(InodeNumber inode, std::uint64_t offset, SeekWhat what) = 0;
  /// Shares extents; returns bytes copied (short at the end of the source).
  virtual Result<std::uint64_t> copy_range(InodeNumber from, std::uint64_t from_offset, InodeNumber to, std::uint64_t to_offset, std::uint64_t length) = 0;

  // --- durability ---
  /// Makes everything accepted so far durable on the local disk. Concurrent calls share flushes.
  virtual Result<> commit() = 0;
  /// Waits until everything accepted so far has the level. Code::timed_out, too_few_nodes if it cannot be reached now.
  virtual Result<> sync(SyncLevel level, std::optional<MonotonicTime> deadline,
                        const std::function<void(const SyncProgress&)>& progress, std::stop_token stop) = 0;

  // --- care ---
  /// Repairs, audits, moves. Lives as long as the drive.
  virtual Care& care() = 0;
  virtual SpaceUsage space() = 0;
  virtual DriveStatus status() = 0;
  /// Forgets cached copies of what nodes hold in full. Returns bytes given back.
  virtual Result<std::uint64_t> drop_cache() = 0;
  /// Reclaims what is due. With `wait`, returns when nothing more is due.
  virtual Result<> collect_garbage(bool wait, std::stop_token stop) = 0;
  /// What a file rests on; asks nodes for one leaf of each shard when `verify`.
  virtual Result<FileReport> inspect(InodeNumber inode, bool verify) = 0;
  /// A digest over the folded state, for the law digest(replayed) == digest(live). Commits and applies first.
  virtual Result<Bytes> digest() = 0;
};

}  // namespace atl
