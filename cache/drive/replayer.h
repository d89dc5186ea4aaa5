// Folds batches of the journal into an index, in bounded memory: how a drive comes back after a crash, and how a check
// makes the index a second time. Not thread-safe.
#pragma once

#include "cache/index/fold.h"
#include "cache/index/tables.h"
#include "cache/journal/journal.h"

namespace atl {

class Replayer {
 public:
  /// Goes on behind what the index has applied. Both outlive it; nobody else changes the index meanwhile.
  Replayer(IndexStore& index, Tables& tables) : index_(index), tables_(tables), last_(index.applied()) {}

  /// The last record folded.
  Lsn last() const { return last_; }
  /// The batch that follows. Code::corrupt if it does not, or contradicts the state; else the errors of apply().
  Result<> fold(const JournalBatch& batch);
  /// Everything folded so far is in the index once this succeeds. Errors as of IndexStore::apply.
  Result<> apply();

 private:
  IndexStore& index_;
  Tables& tables_;
  Lsn last_;
  std::size_t rows_ = 0;  // folded since the last apply(), about
};

}  // namespace atl
