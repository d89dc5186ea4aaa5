// Asking nodes whether they are there, for somebody who wants to know it now. Nodes whose requests cost something are
// otherwise asked only when they have said nothing for minutes (Node::silence_max).
#pragma once

#include "engine/base/clock.h"

namespace atl {

/// An engine that can be asked to look is one of these too. Thread-safe.
class NodeChecks {
 public:
  virtual ~NodeChecks() = default;
  /// Asks every present node that has said nothing for EngineOptions::probe_interval, and waits until each has answered or
  /// failed, or `patience` is over: then nodes() tells what is so now. Never on the engine's thread.
  virtual void check_nodes(Duration patience) = 0;
};

}  // namespace atl
