#include "cache/drive/core.h"

namespace atl {

bool Waiters::wait(Runtime& runtime, std::optional<MonotonicTime> deadline, const std::stop_token& stop,
                   const std::function<bool()>& ready) {
  const std::unique_ptr<Event> event = runtime.make_event();
  {
    std::lock_guard lock(mutex_);
    events_.insert(event.get());
  }
  std::stop_callback on_stop(stop, [&event] { event->set(); });
  bool result = false;
  for (;;) {
    event->reset();
    if (stop.stop_requested()) break;
    if (ready()) {
      result = true;
      break;
    }
    if (!event->wait_until(deadline)) {
      result = ready();
      break;
    }
  }
  std::lock_guard lock(mutex_);
  events_.erase(event.get());
  return result;
}

void Waiters::wake() {
  std::lock_guard lock(mutex_);
  for (Event* event : events_) event->set();
}

DriveCore::DriveCore(DriveSeams seams_, std::string directory_, Keyring keyring_, DriveOptions options_)
    : seams(seams_), directory(std::move(directory_)), keyring(std::move(keyring_)), options(options_) {
  opened_at = seams.clock.now();
}

void DriveCore::log(const Record& record) {
  if (auto folded = fold(record, *tables); !folded) {
    fail_stop(folded.error());
    throw IndexFailure(folded.error());
  }
  encode_record(record, records);
  ++record_count;
  last_lsn = last_lsn.next();
  ++changes;
}

std::optional<Error> DriveCore::refusal() const {
  if (trouble) return Error(Code::io, "the drive takes no changes: " + trouble->what, trouble->hint);
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
