// What an engine may take of the line, changed while it runs.
#pragma once

#include <cstdint>

#include "engine/engine.h"

namespace atl {

/// While paused nothing is stored, listed or removed on nodes; what is read is read all the same. A limit is kept on
/// average, not within one object or range: each waits until the line has carried what went before.
struct Flow {
  static constexpr std::uint64_t limit_min = 32 << 10;
  std::uint64_t upload_limit = 0;    // bytes per second; 0: none
  std::uint64_t download_limit = 0;  // the same; limits below limit_min count as that
  bool paused = false;
  friend bool operator==(const Flow&, const Flow&) = default;
};

/// An engine whose flow can be set is one of these too. Thread-safe; after close() nothing happens.
class FlowControl {
 public:
  virtual ~FlowControl() = default;
  /// Applies to what waits as well, within a second. Calls that run when a pause begins go to their end.
  virtual void set_flow(const Flow& flow) = 0;
  virtual Flow flow() const = 0;
};

/// The control of an engine; null if it has none.
inline FlowControl* flow_control(Engine* engine) { return dynamic_cast<FlowControl*>(engine); }

}  // namespace atl
