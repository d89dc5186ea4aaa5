// What a drive's journal holds beyond one point of its history: for whoever was told of the history up to there.
#pragma once

#include <optional>
#include <unordered_set>

#include "cache/drive/drive.h"
#include "cache/heads/claim.h"
#include "cache/index/tables.h"
#include "cache/journal/journal.h"

namespace atl {

struct Changes {
  /// Changes, the files and folders that they made or changed and that are still there, and the bytes written to them
  /// that still stand. `complete` is false if the journal does not go back so far, or is of another history: then it
  /// counts what there is, and nothing can be said of what the sets lack.
  Untold untold;
  std::unordered_set<InodeNumber> changed;  // in themselves, for whoever looks at them
  std::unordered_set<InodeNumber> parents;  // directories in which names came, went or moved; and whose links changed so
  std::unordered_set<InodeNumber> read;     // only their time of access
  std::optional<Timestamp> oldest;          // of the first change, as far as it names a time
};

/// Counts and lists what the journal holds beyond `told`. `tables` stand for the journal's end; the caller keeps both
/// still. Errors are the journal's.
Result<Changes> collect_changes(Journal& journal, Lsn told, Tables& tables);

/// Whether the point lies in the journal's history, which its chain hash proves; absent if that cannot be told for
/// certain, or is not so.
Result<std::optional<Lsn>> find_point(Journal& journal, const HistoryPoint& point);

/// What a drive that Drive::open gave holds beyond the point, durably. Any thread. Code::unsupported for other drives.
Result<Changes> changes_since(Drive& drive, const HistoryPoint& point);

}  // namespace atl
