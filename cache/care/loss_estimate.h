// How likely a drive is to lose data, from how its nodes fail: RepairChain for each set of nodes that carries segments, and
// what takes several of these nodes at once on top. Explained in ARCHITECTURE.md, "Care". Not thread-safe.
//
// Rates are per second, times in seconds.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "cache/care/repair_chain.h"

namespace atl {

inline constexpr double year_seconds = 365.25 * 86400;

/// A set of nodes that carries segments: all of them live or die together.
struct PlacementGroup {
  unsigned k = 1;
  unsigned n = 1;
  unsigned lost = 0;                           // shards that are not there now
  std::map<std::string, unsigned> in_domain;   // "country=de" -> present shards there
  unsigned repaired_below = 0;                 // overdue shards are rebuilt where fewer than these are good; 0: n
};

struct LossModel {
  double node_loss_rate = 0;
  double domain_loss_rate = 0;   // of a label's value as a whole
  double grace_seconds = 0;      // as RepairLaw takes these
  double transfer_seconds = 1;
  double rot_rate = 0;
  double find_seconds = 0;
  bool operator==(const LossModel&) const = default;
};

class LossEstimate {
 public:
  explicit LossEstimate(const LossModel& model) : model_(model) {}
  const LossModel& model() const { return model_; }

  /// Upper bound (union over the groups) of the probability that something is lost within so many seconds, which are many
  /// against a repair. In [0, 1]. The chains that it needs are kept: the first time takes some milliseconds a redundancy.
  double loss_within(double seconds, const std::vector<PlacementGroup>& groups);
  /// The same with nobody there to repair.
  double loss_while_away(double seconds, const std::vector<PlacementGroup>& groups) const;
  /// Days for which nobody needs to repair, until the probability that something is lost reaches `risk`.
  unsigned safe_days(const std::vector<PlacementGroup>& groups, double risk = 1e-5, unsigned days_max = 3650) const;

 private:
  const RepairChain& chain(unsigned k, unsigned n);

  const LossModel model_;
  std::map<std::pair<unsigned, unsigned>, RepairChain> chains_;
};

/// Never more than eleven nines are claimed: independence fails before.
inline constexpr double least_claimed_loss = 1e-11;

/// A node's loss rate from what was seen: the mean of a Gamma distribution that began as `prior_losses` in
/// `prior_seconds` of one node's life.
double observed_loss_rate(std::uint64_t losses, double node_seconds);
inline constexpr double prior_losses = 0.1;          // one node in ten a year: disks, and people who stop
inline constexpr double prior_seconds = year_seconds;
/// The next rate above of about fifty for each power of ten: so that an estimate serves for a while.
double rounded_up(double rate);

}  // namespace atl
