#include "cache/care/loss_estimate.h"

#include <algorithm>
#include <cmath>
#include <string_view>

namespace atl {
namespace {

/// The chain counts no more spare shards than these: it would become large, and its answer is small.
constexpr unsigned survives_max = 12;

/// "country" of "country=de".
std::string_view kind_of(std::string_view domain) { return domain.substr(0, domain.find('=')); }

}  // namespace

const RepairChain& LossEstimate::chain(unsigned k, unsigned n) {
  const auto known = chains_.find({k, n});
  if (known != chains_.end()) return known->second;
  RepairLaw law;
  law.k = std::max(k, n - std::min(n, survives_max));
  law.n = n;
  law.loss_rate = model_.node_loss_rate;
  law.grace_seconds = model_.grace_seconds;
  law.transfer_seconds = model_.transfer_seconds;
  law.rot_rate = model_.rot_rate;
  law.find_seconds = model_.find_seconds;
  return chains_.emplace(std::pair(k, n), RepairChain(law)).first->second;
}

double LossEstimate::loss_within(double seconds, const std::vector<PlacementGroup>& groups) {
  double sum = 0;
  for (const PlacementGroup& group : groups) {
    if (group.lost + group.k > group.n) return 1;
    // At worst as many shards wait for others to be lost as may: these are as good as not there.
    const unsigned n = group.repaired_below == 0 ? group.n : std::min(group.n, group.repaired_below);
    const unsigned lost = group.lost - std::min(group.lost, group.n - n);
    const RepairChain& repaired = chain(group.k, n);
    // Of many at once a large placement is whole again after a grace and two jobs, at the latest but for what goes later.
    const bool large = n - group.k > survives_max;
    const double mending = model_.grace_seconds + 2 * model_.transfer_seconds;
    const auto after_many = [&](unsigned many) { return loss_without_repair(group.k, n, model_.node_loss_rate, many, mending); };
    const auto by_blow = [&](unsigned shards) { return large ? after_many(std::min(shards, n)) : repaired.loss_in_blow(std::min(shards, n)); };
    double rate = repaired.loss_rate();
    for (auto at = group.in_domain.begin(); at != group.in_domain.end(); ++at) {
      const auto& [name, shards] = *at;
      if (shards < 2) continue;
      rate += model_.domain_loss_rate * by_blow(shards);
      // Another one of the same kind may go before what the first took is rebuilt.
      const bool urgent = shards + group.k + 1 >= n;
      const double both = model_.domain_loss_rate * (model_.transfer_seconds + (urgent ? 0 : model_.grace_seconds));
      for (auto other = group.in_domain.begin(); other != group.in_domain.end(); ++other)
        if (other != at && kind_of(other->first) == kind_of(name)) rate += model_.domain_loss_rate * both * by_blow(shards + other->second);
    }
    const double now = large ? (lost == 0 ? 0 : after_many(lost)) : repaired.loss_before_whole(lost);
    sum += now - (1 - now) * std::expm1(-seconds * rate);
    if (sum >= 1) return 1;
  }
  return sum;
}

double LossEstimate::loss_while_away(double seconds, const std::vector<PlacementGroup>& groups) const {
  const double domain = -std::expm1(-model_.domain_loss_rate * seconds);
  double sum = 0;
  for (const PlacementGroup& group : groups) {
    sum += loss_without_repair(group.k, group.n, model_.node_loss_rate, group.lost, seconds);
    for (const auto& [name, shards] : group.in_domain)
      if (shards > 1) sum += domain * loss_without_repair(group.k, group.n, model_.node_loss_rate, group.lost + shards, seconds);
    if (sum >= 1) return 1;
  }
  return sum;
}

unsigned LossEstimate::safe_days(const std::vector<PlacementGroup>& groups, double risk, unsigned days_max) const {
  // The risk only grows with time: the last day that is safe, by halving.
  unsigned safe = 0;
  unsigned unsafe = days_max + 1;
  while (unsafe - safe > 1) {
    const unsigned middle = safe + (unsafe - safe) / 2;
    (loss_while_away(middle * 86400.0, groups) <= risk ? safe : unsafe) = middle;
  }
  return safe;
}

double observed_loss_rate(std::uint64_t losses, double node_seconds) {
  return (prior_losses + static_cast<double>(losses)) / (prior_seconds + std::max(0.0, node_seconds));
}

double rounded_up(double rate) { return rate > 0 ? std::pow(10, std::ceil(std::log10(rate) * 50 - 1e-9) / 50) : 0; }

}  // namespace atl
