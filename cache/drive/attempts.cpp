#include "cache/drive/attempts.h"

#include <set>

#include "cache/drive/drive_impl.h"
#include "cache/journal/record.h"

namespace atl {

Result<std::size_t> discard_attempts(Drive& drive, Drive& old) {
  auto* const kept = dynamic_cast<DriveImpl*>(&drive);
  auto* const left = dynamic_cast<DriveImpl*>(&old);
  if (kept == nullptr || left == nullptr) return fail(Code::unsupported, "these drives have no segments");
  return kept->discard_attempts(left->attempts());
}

std::vector<AttemptLeft> DriveImpl::attempts() {
  std::vector<AttemptLeft> all;
  std::lock_guard lock(core_->mutex);
  for (const auto& [id, row] : core_->tables->segments())
    if (row.has_attempt) all.push_back({id, row.attempt, row.k, row.n, row.bytes, 0});
  for (const auto& [attempt, row] : core_->tables->garbage()) all.push_back({row.segment, attempt, row.k, row.n, row.bytes, 0});
  return all;
}

Result<std::size_t> DriveImpl::discard_attempts(const std::vector<AttemptLeft>& attempts) {
  return changing([&]() -> Result<std::size_t> {
    std::set<AttemptId> known;
    for (const auto& [id, row] : core_->tables->segments())
      if (row.has_attempt) known.insert(row.attempt);
    for (const auto& [attempt, row] : core_->tables->garbage()) known.insert(attempt);
    std::size_t count = 0;
    for (AttemptLeft left : attempts) {
      if (!known.insert(left.attempt).second) continue;
      left.running_seconds = core_->ran_seconds();
      core_->log(left);
      ++count;
    }
    return count;
  });
}

}  // namespace atl
