// A clock that moves only when a test says so. Wall and monotonic time advance together; set_wall() steps the wall
// clock alone, as a person or NTP does. Thread-safe.
#pragma once

#include <mutex>

#include "engine/base/clock.h"

namespace atl {

class ManualClock final : public Clock {
 public:
  explicit ManualClock(Timestamp wall = {1'700'000'000, 0}) : wall_(wall) {}

  Timestamp wall_now() const override {
    const std::lock_guard lock(mutex_);
    return wall_;
  }
  MonotonicTime now() const override {
    const std::lock_guard lock(mutex_);
    return now_;
  }

  void advance(Duration by) {
    const std::lock_guard lock(mutex_);
    now_ += by;
    const std::int64_t nanoseconds = static_cast<std::int64_t>(wall_.nanoseconds) + by.count();
    constexpr std::int64_t second = 1'000'000'000;
    wall_.seconds += nanoseconds / second;
    wall_.nanoseconds = static_cast<std::uint32_t>(nanoseconds % second);
  }
  void set_wall(Timestamp wall) {
    const std::lock_guard lock(mutex_);
    wall_ = wall;
  }

 private:
  mutable std::mutex mutex_;
  Timestamp wall_;
  MonotonicTime now_{Duration(1)};  // not zero, so that a default-constructed time is always in the past
};

}  // namespace atl
