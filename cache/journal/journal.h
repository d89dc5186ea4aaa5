// The append-only, ordered, hash-chained journal: the drive's only truth.
//
// Records reach the disk in batches. A batch is whole or absent: it carries the hash of its predecessor and its own
// keyed hash, and counts as committed once append() has returned. FORMAT.md, "Journal". Files are preallocated, so that
// a file shorter than its header says was cut by someone; they rotate and are dropped from the front.
//
// Recovery cuts only what lies behind the last valid batch, and only where nothing valid follows: damage before a later
// valid batch is corruption and refuses to open (Code::corrupt naming file and offset), changing nothing.
// Not thread-safe: one owner serialises calls.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cache/keys/keyring.h"
#include "engine/base/bytes.h"
#include "engine/base/disk.h"
#include "engine/base/ids.h"
#include "engine/base/result.h"

namespace atl {

using ChainHash = std::array<std::uint8_t, 32>;

/// One committed batch, as replay shows it. `body` is the concatenation of the caller's records.
struct JournalBatch {
  Lsn first;  // LSN of the first record
  std::uint32_t count = 0;
  ByteView body;
  ChainHash previous{};  // of the batch before, or what the chain starts from
  ChainHash chain{};     // hash of this batch, which names all history before it
};

struct JournalOptions {
  std::uint64_t file_bytes = 16ull * 1024 * 1024;  // preallocated per file; a larger batch gets a larger file
};

class Journal {
 public:
  /// Makes an empty journal in an existing directory that holds none (Code::exists). Durable when it returns, except
  /// for the directory's own name.
  static Result<> create(Disk& disk, const std::string& directory, const VolumeId& volume, const SecretKey& key,
                         JournalOptions options = {});

  /// Opens, validates every file from the first LSN held to the end, and stands ready to append. `known`: an LSN that
  /// is known to have been durable (the index has applied it); a journal that ends before it was cut: Code::corrupt.
  /// Code::key if the chain is of another volume or key, newer_format. What it shows is durable, the last batch having
  /// been written again in case the flush of an earlier process failed.
  static Result<std::unique_ptr<Journal>> open(Disk& disk, const std::string& directory, const VolumeId& volume,
                                               const SecretKey& key, Lsn known, JournalOptions options = {});
  /// Makes a journal that goes on where another's copy ends: the next record is `first`, the chain hash before it
  /// `previous`. Appending the same batches gives the same chain. Code::exists as create().
  static Result<std::unique_ptr<Journal>> continue_at(Disk& disk, const std::string& directory, const VolumeId& volume,
                                                      const SecretKey& key, Lsn first, const ChainHash& previous,
                                                      JournalOptions options = {});
  ~Journal();

  /// Shows every batch that holds an LSN >= `from`, in order. Code::not_found if older ones were dropped. An error of
  /// the visitor ends it and is returned.
  Result<> replay(Lsn from, const std::function<Result<>(const JournalBatch&)>& visit);

  /// Appends a batch of `count` > 0 records and makes it durable (one sync; a few more when a file is begun). After a
  /// failed write nothing was committed and the journal may be used again: the next append first makes sure that the
  /// failed one cannot appear. After a failed sync the outcome is unknown until the journal is opened again: every
  /// later call fails with Code::io.
  Result<Lsn> append(ByteView body, std::uint32_t count);

  /// First and last LSN held; last is 0 in an empty journal.
  Lsn first() const;
  Lsn last() const;
  ChainHash chain() const;
  /// Bytes of all files, as allocated.
  std::uint64_t disk_bytes() const;
  /// Ensures that a batch of `bytes` can be written without asking the disk for space. Code::no_space.
  Result<> reserve(std::uint64_t bytes);
  /// What comes next goes to a new file, so that drop_before() can take all there is now. Errors as of append().
  Result<> begin_new_file();
  /// Removes whole files whose records are all before `keep`.
  Result<> drop_before(Lsn keep);

 private:
  struct State;
  explicit Journal(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Reads one journal file for `atoll inspect` and for check: shows each batch, says in the Result where and why it ends
/// if not cleanly. Needs no lock.
Result<> inspect_journal_file(Disk& disk, const std::string& path, const VolumeId& volume, const SecretKey& key,
                              const std::function<void(std::uint64_t offset, const JournalBatch&)>& visit);

}  // namespace atl
