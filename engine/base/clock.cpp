#include "engine/base/clock.h"

#include <ctime>

namespace atl {

Timestamp SystemClock::wall_now() const {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return {now.tv_sec, static_cast<std::uint32_t>(now.tv_nsec)};
}

MonotonicTime SystemClock::now() const {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return MonotonicTime(std::chrono::seconds(now.tv_sec) + Duration(now.tv_nsec));
}

}  // namespace atl
