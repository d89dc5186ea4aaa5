#include "cache/drive/checkpointer.h"

#include <algorithm>

#include "cache/drive/checkpoint.h"
#include "cache/drive/paths.h"

namespace atl {
namespace {

constexpr std::uint64_t journal_bytes_min = 64ull << 20;

}  // namespace

bool Checkpointer::due() {
  if (running_.load()) return false;
  const std::uint64_t journal = committer_.with_journal([](Journal& j) { return j.disk_bytes(); });
  return journal > std::max(journal_bytes_min, 2 * last_bytes_.load());
}

Result<> Checkpointer::run() {
  if (running_.exchange(true)) return {};
  struct Done {
    std::atomic<bool>& running;
    ~Done() { running = false; }
  } const done{running_};
  if (auto r = committer_.apply(); !r) return r;
  auto key = core_.keyring.derive(KeyEpoch{1}, KeyPurpose::journal);
  if (!key) return fail(key.error());
  // Connections of its own: reading every row must not hold the state lock.
  auto reader = core_.index->beside();
  if (!reader) return fail(reader.error());
  Result<WrittenCheckpoint> written;
  try {
    written = write_checkpoint(core_.seams.disk, checkpoint_directory(core_.directory), **reader, core_.keyring.volume(), *key);
  } catch (const IndexFailure& failure) {
    return fail(failure.error());
  }
  if (!written) return fail(written.error());
  last_bytes_ = written->bytes;
  // What a power cut would take from the index must still be in the journal.
  auto flushed = committer_.flush_index();
  if (!flushed) return fail(flushed.error());
  const Lsn keep = std::min(written->lsn, *flushed).next();
  return committer_.with_journal([&](Journal& journal) { return journal.drop_before(keep); });
}

}  // namespace atl
