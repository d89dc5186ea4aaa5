#include "cache/care/repair_chain.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <numeric>

namespace atl {
namespace {

constexpr double states_max = 5'000;
constexpr unsigned stages_max = 24;
constexpr unsigned sweeps_max = 5'000;
constexpr double settled = 1e-10;  // change of every number in one sweep, in proportion

double choose(double n, double m) {
  double ways = 1;
  for (double i = 1; i <= m; ++i) ways *= (n - m + i) / i;
  return ways;
}

/// The chain with a certain number of stages.
class StagedChain {
 public:
  StagedChain(const RepairLaw& law, unsigned stages) : law_(law), stages_(stages), survives_(law.n - law.k) {
    explore();
    solve_losses();
    solve_stays();
    cycle_loss = loss_[0];
    cycle_seconds = std::accumulate(stay_.begin(), stay_.end(), 0.0);
    for (unsigned lost = 0; lost <= survives_; ++lost) before_whole.push_back(fate(after(0, lost)));
    gather_blows();
  }

  double cycle_seconds = 0;  // from whole to whole, or to the end
  double cycle_loss = 0;     // the probability that it ends there
  std::vector<double> before_whole;
  std::vector<double> in_blow;  // over a cycle

  static unsigned stages_for(unsigned survives, bool rots) {
    for (unsigned stages = stages_max; stages > 1; --stages) {
      const double states = stages * choose(survives + stages + 1.0, std::max(survives, 1u) - 1.0) * (rots ? survives + 1.0 : 1.0);
      if (states <= states_max) return stages;
    }
    return 1;
  }

 private:
  /// Counts of shards: four of what is named below; then of those that wait, by the stages that they have passed.
  using State = std::vector<std::uint8_t>;
  static constexpr std::size_t due = 0, job = 1, stage = 2, silent = 3, waiting = 4;
  static constexpr std::size_t end = static_cast<std::size_t>(-1);
  struct Way {
    std::size_t to = end;
    double rate = 0;
  };

  static unsigned waits(const State& state) { return std::accumulate(state.begin() + waiting, state.end(), 0u); }
  static unsigned lost(const State& state) { return waits(state) + state[due] + state[job]; }

  /// The number of a state, after what happens in no time has happened: a job begins.
  std::size_t number(State state) {
    if (lost(state) + state[silent] > survives_) return end;
    if (state[job] == 0) {
      unsigned taken = state[due];
      if (lost(state) + 1 >= survives_) {
        taken += waits(state);
        std::fill(state.begin() + waiting, state.end(), std::uint8_t{0});
      }
      state[due] = 0;
      state[job] = static_cast<std::uint8_t>(taken);
    }
    const auto [at, fresh] = numbers_.try_emplace(state, states_.size());
    if (fresh) states_.push_back(std::move(state));
    return at->second;
  }

  void explore() {
    (void)number(State(waiting + stages_, 0));
    const std::size_t lose_to = law_.grace_seconds > 0 ? waiting : due;
    for (std::size_t at = 0; at < states_.size(); ++at) {
      const State from = states_[at];
      const double good = law_.n - lost(from) - from[silent];
      std::vector<Way> ways;
      const auto go = [&](double rate, auto change) {
        if (rate <= 0) return;
        State to = from;
        change(to);
        ways.push_back({number(std::move(to)), rate});
      };
      std::vector<std::size_t> after_losses;
      for (unsigned more = 1; lost(from) + from[silent] + more <= survives_; ++more) {
        State to = from;
        to[lose_to] = static_cast<std::uint8_t>(to[lose_to] + more);
        after_losses.push_back(number(std::move(to)));
      }
      after_.push_back(std::move(after_losses));
      ways.push_back({after(at, 1), good * law_.loss_rate});
      go(from[silent] * law_.loss_rate, [&](State& to) {
        --to[silent];
        ++to[lose_to];
      });
      go(good * law_.rot_rate, [](State& to) { ++to[silent]; });
      go(from[silent] == 0 ? 0 : from[silent] / law_.find_seconds, [](State& to) {
        --to[silent];
        ++to[due];
      });
      for (std::size_t i = waiting; i < from.size(); ++i) {
        go(from[i] == 0 ? 0 : from[i] * stages_ / law_.grace_seconds, [i](State& to) {
          --to[i];
          ++to[i + 1 < to.size() ? i + 1 : due];
        });
      }
      go(from[job] == 0 ? 0 : stages_ / law_.transfer_seconds, [this](State& to) {
        if (++to[stage] < stages_) return;
        to[stage] = 0;
        to[job] = 0;
      });
      ways_.push_back(std::move(ways));
    }
    for (const auto& ways : ways_) {
      double out = 0;
      for (const Way& way : ways) out += way.rate;
      out_.push_back(out);
    }
  }

  /// Gauss and Seidel, to and fro, until nothing changes any more: since the whole state ends it, that is soon.
  template <typename Update>
  void sweep(std::vector<double>& values, Update update) {
    const auto renew = [&](std::size_t i) {
      const double now = update(i);
      const double change = now == values[i] ? 0 : std::abs(now - values[i]) / now;
      values[i] = now;
      return change;
    };
    for (unsigned sweeps = 0; sweeps < sweeps_max; ++sweeps) {
      double change = 0;
      for (std::size_t i = states_.size(); i-- > 0;) change = std::max(change, renew(i));
      for (std::size_t i = 0; i < states_.size(); ++i) change = std::max(change, renew(i));
      if (change < settled) return;
    }
  }

  /// By state: the probability of the end before all is whole again.
  void solve_losses() {
    loss_.assign(states_.size(), 0);
    sweep(loss_, [this](std::size_t i) {
      double sum = 0;
      for (const Way& way : ways_[i])
        if (way.to != 0) sum += way.rate * (way.to == end ? 1 : loss_[way.to]);
      return sum / out_[i];
    });
  }

  /// By state: seconds spent there from the whole state until all is whole again, or to the end.
  void solve_stays() {
    std::vector<std::vector<Way>> from(states_.size());
    for (std::size_t i = 0; i < states_.size(); ++i)
      for (const Way& way : ways_[i])
        if (way.to != end) from[way.to].push_back({i, way.rate});
    stay_.assign(states_.size(), 0);
    sweep(stay_, [&](std::size_t i) {
      double visits = i == 0 ? 1 : 0;
      if (i != 0)
        for (const Way& way : from[i]) visits += way.rate * stay_[way.to];
      return visits / out_[i];
    });
  }

  std::size_t after(std::size_t at, unsigned losses) const {
    if (losses == 0) return at;
    return losses <= after_[at].size() ? after_[at][losses - 1] : end;
  }
  double fate(std::size_t at) const { return at == end ? 1 : at == 0 ? 0 : loss_[at]; }

  /// By how much likelier the loss becomes where some of the placement's nodes go together, over the time of a cycle. Each
  /// node is as likely as any other to be among those whose shards are lost already.
  void gather_blows() {
    std::vector<std::vector<double>> harm(survives_ + 1, std::vector<double>(law_.n + 1, 0));  // by shards lost, and lost anew
    for (std::size_t i = 0; i < states_.size(); ++i)
      for (unsigned more = 1; more <= law_.n; ++more)
        harm[lost(states_[i])][more] += stay_[i] * std::max(0.0, fate(after(i, more)) - fate(i));
    for (unsigned nodes = 0; nodes <= law_.n; ++nodes) {
      double sum = 0;
      for (unsigned gone = 0; gone <= survives_; ++gone) {
        for (unsigned both = 0; both < nodes && both <= gone; ++both) {
          if (nodes - both > law_.n - gone) continue;
          sum += harm[gone][nodes - both] * choose(gone, both) * choose(law_.n - gone, nodes - both) / choose(law_.n, nodes);
        }
      }
      in_blow.push_back(sum);
    }
  }

  const RepairLaw law_;
  const unsigned stages_;
  const unsigned survives_;
  std::map<State, std::size_t> numbers_;
  std::vector<State> states_;
  std::vector<std::vector<Way>> ways_;
  std::vector<std::vector<std::size_t>> after_;  // so many losses at one time
  std::vector<double> out_;
  std::vector<double> loss_;
  std::vector<double> stay_;
};

/// From what comes with some stages and with twice as many to what would with infinitely many.
double carried_on(double once, double twice) { return once > 0 ? twice * (twice / once) : twice; }

}  // namespace

RepairChain::RepairChain(const RepairLaw& law) : survives_(law.n - law.k) {
  before_whole_.assign(survives_ + 1, 0);
  in_blow_.assign(law.n + 1, 0);
  for (unsigned nodes = survives_ + 1; nodes <= law.n; ++nodes) in_blow_[nodes] = 1;
  if (law.loss_rate <= 0) return;
  const unsigned stages = std::max(1u, StagedChain::stages_for(survives_, law.rot_rate > 0) / 2);
  const StagedChain once(law, stages);
  const StagedChain twice(law, 2 * stages);
  const double seconds = carried_on(once.cycle_seconds, twice.cycle_seconds);
  loss_rate_ = carried_on(once.cycle_loss, twice.cycle_loss) / seconds;
  for (unsigned lost = 1; lost <= survives_; ++lost) before_whole_[lost] = std::min(1.0, carried_on(once.before_whole[lost], twice.before_whole[lost]));
  for (unsigned nodes = 1; nodes <= law.n; ++nodes)
    in_blow_[nodes] = std::min(1.0, carried_on(once.in_blow[nodes], twice.in_blow[nodes]) / seconds);
}

double RepairChain::loss_before_whole(unsigned lost) const { return lost > survives_ ? 1 : before_whole_[lost]; }

double RepairChain::loss_in_blow(unsigned nodes) const { return in_blow_[std::min<std::size_t>(nodes, in_blow_.size() - 1)]; }

double approximate_loss_rate(const RepairLaw& law) {
  const unsigned m = law.n - law.k;
  double rate = law.k * choose(law.n, m) * law.loss_rate * (m < 2 ? 1 : choose(m, 2));
  for (unsigned i = 0; i < m; ++i)
    rate *= law.loss_rate * (i < 2 ? law.transfer_seconds : law.grace_seconds + law.transfer_seconds);
  return rate;
}

double loss_without_repair(unsigned k, unsigned n, double loss_rate, unsigned lost, double seconds) {
  if (lost + k > n) return 1;
  const double gone = -std::expm1(-loss_rate * seconds);
  const unsigned left = n - lost;
  double sum = 0;
  for (unsigned i = n - k + 1 - lost; i <= left; ++i) sum += choose(left, i) * std::pow(gone, i) * std::pow(1 - gone, left - i);
  return std::min(sum, 1.0);
}

}  // namespace atl
