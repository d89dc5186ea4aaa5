// How often nodes like to be sent small objects: a kind whose requests cost something names an interval (Node).
#pragma once

#include <map>

#include "engine/base/clock.h"
#include "engine/base/ids.h"

namespace atl {

/// An engine that knows its nodes' kinds is one of these too. Thread-safe.
class ShipIntervals {
 public:
  virtual ~ShipIntervals() = default;
  /// The shortest time between two shipments of small objects, such as a journal, that a node likes. Nodes that are not named
  /// like any.
  virtual std::map<NodeId, Duration> ship_intervals() const = 0;
};

}  // namespace atl
