// Reading one journal file: batch after batch from its header on, and what lies behind the last valid one.
// Holds one batch in memory. The File, the codec and the path outlive it. Not thread-safe.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "cache/journal/journal_format.h"

namespace atl {

class JournalFileReader {
 public:
  JournalFileReader(File& file, const JournalCodec& codec, std::string path);

  /// Reads and checks the header. Code::corrupt also for a file that is shorter than its header says: somebody cut it.
  Result<> begin();
  /// The next batch of the chain, its body valid until the next call; absent where the chain ends. Errors are the
  /// disk's.
  Result<std::optional<JournalBatch>> next();

  struct Tail {
    std::uint64_t used_end = 0;                // behind the last byte that is not zero
    std::optional<std::uint64_t> valid_batch;  // offset of a later batch behind the end of the chain: damage
  };
  /// Looks at what lies behind the end of the chain, after begin(): at `offset`, where record `next` would stand.
  Result<Tail> tail_from(std::uint64_t offset, Lsn next);

  const JournalFileHeader& header() const { return header_; }
  /// Where the chain has come to: the offset, LSN and hash from which the next batch would follow.
  std::uint64_t offset() const { return offset_; }
  Lsn next_lsn() const { return next_lsn_; }
  const ChainHash& chain() const { return chain_; }

 private:
  /// The batch at `offset` if its hashes fit, whatever its place in the chain; it lies in buffer_.
  Result<std::optional<JournalBatchHeader>> read_batch(std::uint64_t offset);
  Result<> read_exactly(std::uint64_t offset, MutableBytes out);

  File& file_;
  const JournalCodec& codec_;
  std::string path_;
  JournalFileHeader header_;
  std::uint64_t offset_ = 0;
  Lsn next_lsn_;
  ChainHash chain_{};
  Bytes buffer_;
};

/// The error for damage in a journal file.
tl::unexpected<Error> journal_damage(const std::string& path, std::uint64_t offset, const std::string& what);

}  // namespace atl
