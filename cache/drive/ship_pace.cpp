#include "cache/drive/ship_pace.h"

#include <algorithm>

#include "engine/base/mutant.h"

namespace atl {

bool ShipPace::is_due(const Waiting& waiting, MonotonicTime now) const {
  if (paid_until_ && !waiting.much && *paid_until_ - now > (burst - 1) * limits_.interval) return false;
  // Who changes something all the time would wait for ever for a pause.
  const bool waited = now - waiting.since >= limits_.most && !mutant("pace-waits-on");
  return waited || now - waiting.last >= limits_.idle;
}

void ShipPace::shipped(MonotonicTime now) { paid_until_ = std::max(paid_until_.value_or(now), now) + limits_.interval; }

}  // namespace atl
