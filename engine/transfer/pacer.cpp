#include "engine/transfer/pacer.h"

#include <algorithm>

namespace atl {

namespace {

constexpr Duration look_again = std::chrono::milliseconds(250);

}  // namespace

/// A stretch of the line's time that is somebody's, and free again if nothing comes of it.
class Pacer::Turn {
 public:
  Turn(Pacer& pacer, std::uint64_t bytes)
      : pacer_(pacer), changes_(pacer.changes_), time_(pacer.time_of(bytes)), begin_(std::max(pacer.loop_.now(), pacer.free_at_)) {
    pacer_.free_at_ = begin_ + time_;
  }
  ~Turn() {
    if (!used_ && valid()) pacer_.free_at_ -= time_;
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  bool valid() const { return changes_ == pacer_.changes_; }
  Duration left() const { return begin_ - pacer_.loop_.now(); }
  void use() { used_ = true; }

 private:
  Pacer& pacer_;
  const std::uint64_t changes_;
  const Duration time_;
  const MonotonicTime begin_;
  bool used_ = false;
};

void Pacer::set_limit(std::uint64_t bytes_per_second) {
  if (limit_ == bytes_per_second) return;
  limit_ = bytes_per_second;
  ++changes_;
  free_at_ = loop_.now();
}

Duration Pacer::time_of(std::uint64_t bytes) const {
  if (limit_ == 0) return Duration::zero();
  const double seconds = static_cast<double>(bytes) / static_cast<double>(limit_);
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

asio::awaitable<void> Pacer::take(std::uint64_t bytes) {
  const auto self = shared_from_this();
  while (limit_ != 0) {
    Turn turn(*this, bytes);
    while (turn.valid()) {
      const Duration left = turn.left();
      if (left <= Duration::zero()) {
        turn.use();
        co_return;
      }
      co_await pause_for(loop_, std::min(left, look_again));
    }
  }
}

}  // namespace atl
