// Time, passed in. Tests and the simulator give their own.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>

namespace atl {

using Duration = std::chrono::nanoseconds;

/// A point on a clock that only goes forward and counts suspend; its zero means nothing.
using MonotonicTime = std::chrono::time_point<struct MonotonicTag, Duration>;

/// Wall-clock time as files carry it: seconds since 1970 and nanoseconds 0..999,999,999.
struct Timestamp {
  std::int64_t seconds = 0;
  std::uint32_t nanoseconds = 0;
  friend auto operator<=>(const Timestamp&, const Timestamp&) = default;
};

/// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Timestamp wall_now() const = 0;
  virtual MonotonicTime now() const = 0;
};

/// CLOCK_REALTIME and CLOCK_BOOTTIME.
class SystemClock final : public Clock {
 public:
  Timestamp wall_now() const override;
  MonotonicTime now() const override;
};

}  // namespace atl
