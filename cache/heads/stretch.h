// A stretch of the journal as it travels: whole batches, compressed, with the chain hash before them, so that whoever
// unpacks it can write the same journal again and prove it. FORMAT.md, "Stretch of the journal". Pure functions.
#pragma once

#include <functional>

#include "cache/journal/journal.h"

namespace atl {

/// Gathers batches that follow each other.
class StretchPacker {
 public:
  void add(const JournalBatch& batch);
  bool empty() const { return count_ == 0; }
  std::size_t plain_bytes() const { return plain_.size(); }
  Lsn first() const { return first_; }
  Lsn last() const { return last_; }
  /// Code::failed if the compressor does.
  Result<Bytes> pack() const;

 private:
  Bytes plain_;
  std::size_t count_ = 0;
  Lsn first_, last_;
};

/// Shows the batches of a packed stretch. Their hashes are not checked here: who appends them to a journal compares its
/// chain. Code::corrupt.
Result<> unpack_stretch(ByteView packed, const std::function<Result<>(const JournalBatch&)>& visit);

}  // namespace atl
