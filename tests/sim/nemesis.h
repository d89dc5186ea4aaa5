// What befalls the nodes, the network, the clocks and the disk: drawn from the world's seed.
//
// A few nodes (as many as the drive promises to survive the loss of) may lie, forget, rot, be rolled back or leave for
// ever; now and then all of one owner. All others are honest, though at any time absent, slow, full, frozen, cut off or
// crashing. When nothing has its home on a node any more that left, another may become what it was: nodes churn.
#pragma once

#include <functional>
#include <set>
#include <vector>

#include "tests/sim/world.h"

namespace atl::sim {

class Nemesis {
 public:
  explicit Nemesis(World& world);

  /// Strikes now and then until told to stop. A task of its own.
  void rage(const bool& stop);
  /// One blow. What is temporary about earlier ones ends with heal().
  void strike();
  /// Ends all that can end: the honest nodes are there, near and empty enough. The others stay as bad as they became.
  void heal();
  /// Nobody lies any more either, and who left is back, as far as that is possible.
  void redeem();
  /// The untrusted nodes are gone or lie, all at once.
  void betray();
  /// Nodes that left for ever, and that the drive does not need any more since what they held was rebuilt elsewhere, are
  /// written off: they stay away, and others may be untrusted in their place.
  void write_off(const std::function<bool(std::size_t node)>& empty);
  /// Nobody lies, rots, forgets or was rolled back in this run so far.
  bool all_honest() const { return untrusted_.empty() && written_off_.empty(); }
  /// Cuts these nodes off, and nobody else, until heal().
  void cut_off(const std::vector<std::size_t>& nodes);
  bool gone(std::size_t node) const { return world_.node(node).faults.gone; }
  /// While paused, rage() does nothing.
  void pause(bool paused) { paused_ = paused; }
  std::uint64_t strikes = 0;

 private:
  static constexpr Duration pause_between = std::chrono::seconds(20);

  /// Whether the drive can be full without it.
  bool may_leave() const;
  std::size_t honest();
  void draw_untrusted(std::size_t wanted);
  void strike_country();
  void strike_untrusted();
  void strike_computer();

  World& world_;
  SeededRandom random_;
  std::set<std::size_t> untrusted_;
  std::set<std::size_t> written_off_;
  bool paused_ = false;
};

}  // namespace atl::sim
