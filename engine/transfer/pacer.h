// Spends the line at a bounded rate: whoever sends or receives takes its bytes first, and waits until the line has
// carried what was taken before. In the order in which it is asked; what is idle is not saved up.
//
// Shared: who waits keeps it alive. On the loop's thread only; the loop outlives all waiting. A coroutine that is cancelled while it waits gives its place back.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <memory>

#include "engine/loop/loop.h"

namespace atl {

class Pacer : public std::enable_shared_from_this<Pacer> {
 public:
  explicit Pacer(Loop& loop) : loop_(loop) {}

  /// Bytes per second; 0: no limit. Whoever waits goes on at the new rate, within a quarter of a second.
  void set_limit(std::uint64_t bytes_per_second);
  std::uint64_t limit() const { return limit_; }
  /// How long so many bytes take by themselves; nothing without a limit.
  Duration time_of(std::uint64_t bytes) const;
  /// Waits for the turn of `bytes`.
  asio::awaitable<void> take(std::uint64_t bytes);

 private:
  class Turn;

  Loop& loop_;
  std::uint64_t limit_ = 0;
  std::uint64_t changes_ = 0;
  MonotonicTime free_at_{};  // all that was taken has been carried then
};

}  // namespace atl
