// When little goes to the nodes: soon, as long as that is seldom, and in batches while changes go on and on, since each
// shipment costs every node some requests however small it is.
//
// Looked at again and again, it promises:
//   - a change goes `idle` after the last one, at most `most` after the first, if there were no shipments for
//     `burst` * `interval`; so do the next `burst` - 1 changes, however soon;
//   - no change waits longer than the larger of `most` and `interval`, since a shipment takes all there is;
//   - in any time there are at most `burst` shipments and one more for each `interval` of it, but for those that somebody
//     asked for and those of much.
// The bucket is the generic cell rate algorithm (ATM Forum, Traffic Management 4.0). Not for several threads at once.
#pragma once

#include <optional>

#include "engine/base/clock.h"

namespace atl {

class ShipPace {
 public:
  static constexpr int burst = 4;
  struct Limits {
    Duration idle{};      // a change waits so long for the next one
    Duration most{};      // and while they go on without a pause, so long in all
    Duration interval{};  // between shipments in the long run
  };
  struct Waiting {
    MonotonicTime since{};  // the first change
    MonotonicTime last{};   // the latest one
    bool much = false;      // it is worth requests of its own
  };

  explicit ShipPace(Limits limits) : limits_(limits) {}

  bool is_due(const Waiting& waiting, MonotonicTime now) const;
  /// All that waited goes now.
  void shipped(MonotonicTime now);
  /// As if nothing had been shipped for long.
  void forget() { paid_until_.reset(); }

 private:
  const Limits limits_;
  std::optional<MonotonicTime> paid_until_;  // with one shipment an interval, those so far would have gone by then
};

}  // namespace atl
