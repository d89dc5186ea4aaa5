#include "cache/drive/core.h"

namespace atl {

DriveCore::DriveCore(DriveSeams seams_, std::string directory_, Keyring keyring_, DriveOptions options_)
    : seams(seams_), directory(std::move(directory_)), keyring(std::move(keyring_)), options(options_) {
  opened_at = seams.clock.now();
}

namespace {

/// Whether a head must be made for the record. Where new shards lie, heads say of themselves; that garbage is gone, a
/// machine that comes back finds out. Where a shard moved to it would not.
bool tells(const Record& record) {
  return !std::holds_alternative<SegmentFinished>(record) && !std::holds_alternative<UploadIntended>(record) &&
         !std::holds_alternative<ShardPlaced>(record) && !std::holds_alternative<GarbageRemoved>(record) &&
         !std::holds_alternative<RanFor>(record) && !std::holds_alternative<ShardMoving>(record) &&
         !std::holds_alternative<StrayRemoved>(record);
}

}  // namespace

void DriveCore::log(const Record& record) {
  if (auto folded = fold(record, *tables); !folded) {
    fail_stop(folded.error());
    throw IndexFailure(folded.error());
  }
  encode_record(record, records);
  ++record_count;
  last_lsn = last_lsn.next();
  ++changes;
  if (std::holds_alternative<ShardPlaced>(record)) {
    placed_lsn = last_lsn;
    placed_last = seams.clock.now();
  }
  if (!tells(record)) return;
  telling_lsn = last_lsn;
  told_last = seams.clock.now();
  if (!untold_since) untold_since = told_last;
}

void DriveCore::fence(Error error) {
  std::lock_guard lock(mutex);
  if (!fenced) fenced = std::move(error);
  changed.wake();
}

std::optional<Error> DriveCore::refusal() const {
  if (trouble) return Error(Code::io, "the drive takes no changes: " + trouble->what, trouble->hint);
  if (fenced) return *fenced;
  if (closing) return Error(Code::read_only, "the drive is being unmounted");
  if (options.read_only) return Error(Code::read_only, "the drive is mounted read-only");
  if (journal_full) return Error(Code::no_space, "the disk of " + directory + " has no room for the drive's journal", "free some space there");
  return std::nullopt;
}

void DriveCore::fail_stop(Error error) {
  if (!trouble) trouble = std::move(error);
  changed.wake();
}

std::uint64_t DriveCore::ran_seconds() const {
  const auto since = std::chrono::duration_cast<std::chrono::seconds>(seams.clock.now() - opened_at).count();
  return ran_base_seconds + static_cast<std::uint64_t>(since);
}

void DriveCore::suspect(const Suspect& suspect) {
  constexpr std::size_t suspects_max = 1024;  // audits find the others
  std::lock_guard lock(suspects_mutex_);
  if (suspects_.size() < suspects_max) suspects_.push_back(suspect);
}

std::vector<Suspect> DriveCore::take_suspects() {
  std::lock_guard lock(suspects_mutex_);
  return std::exchange(suspects_, {});
}

const ExtentSealer& DriveCore::sealer(KeyEpoch epoch) {
  std::lock_guard lock(sealers_mutex_);
  auto& sealer = sealers_[epoch];
  if (!sealer) {
    auto key = keyring.derive(epoch, KeyPurpose::content);
    if (!key) throw IndexFailure(key.error());
    sealer = std::make_unique<ExtentSealer>(*key, seams.random);
  }
  return *sealer;
}

}  // namespace atl
