#include "engine/placement/selection.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>

namespace atl {

namespace {

/// Costs are compared lexicographically: excess of each key, unevenness, the nodes' own. Each part has its bits.
__extension__ using Weight = __int128;

constexpr unsigned own_bits = 18;      // 255 nodes of less than 256, twice over
constexpr unsigned uneven_bits = 22;   // of up to 16 keys with 255 shards each
constexpr unsigned excess_bits = 10;
constexpr std::size_t ranked_keys_max = 8;  // further keys are only spread evenly
constexpr std::size_t search_steps_max = 50'000;
constexpr int rounds_max = 200;

using Counts = std::vector<std::size_t>;  // by kind

class Selector {
 public:
  explicit Selector(const Selection& s) : s_(s), keys_(s.loads.size()) {}

  std::vector<std::size_t> run() {
    if (keys_ <= 2) return by_flow();
    Counts best = improved(by_flow());
    Counts greedy = improved(step_by_step());
    if (cost(greedy) < cost(best)) best = std::move(greedy);
    if (excess(cost(best)) != 0) search(best);
    return best;
  }

 private:
  /// What it costs that a value of the key gets a shard more, or had one less, when it has `load` with it.
  Weight step(std::size_t key, std::size_t load) const {
    Weight weight = Weight(2 * load - 1) << own_bits;
    if (load > s_.limit && key < ranked_keys_max) weight += Weight(1) << (own_bits + uneven_bits + excess_bits * (ranked_keys_max - 1 - key));
    return weight;
  }
  static Weight excess(Weight cost) { return cost >> (own_bits + uneven_bits); }

  std::vector<std::vector<std::size_t>> loads_of(const Counts& counts) const {
    auto loads = s_.loads;
    for (std::size_t kind = 0; kind < counts.size(); ++kind)
      for (std::size_t key = 0; key < keys_; ++key) loads[key][s_.kinds[kind].values[key]] += counts[kind];
    return loads;
  }

  Weight cost(const Counts& counts) const {
    Weight total = 0;
    const auto loads = loads_of(counts);
    for (std::size_t key = 0; key < keys_; ++key)
      for (const std::size_t load : loads[key])
        for (std::size_t at = 1; at <= load; ++at) total += step(key, at);
    for (std::size_t kind = 0; kind < counts.size(); ++kind)
      for (std::size_t i = 0; i < counts[kind]; ++i) total += s_.kinds[kind].costs[i];
    return total;
  }

  Weight cost_of_one(const std::vector<std::vector<std::size_t>>& loads, std::size_t kind, std::size_t taken) const {
    Weight added = s_.kinds[kind].costs[taken];
    for (std::size_t key = 0; key < keys_; ++key) added += step(key, loads[key][s_.kinds[kind].values[key]] + 1);
    return added;
  }

  Counts step_by_step() const {
    Counts counts(s_.kinds.size());
    auto loads = s_.loads;
    for (std::size_t n = 0; n < s_.count; ++n) {
      std::optional<std::pair<Weight, std::size_t>> best;
      for (std::size_t kind = 0; kind < counts.size(); ++kind) {
        if (counts[kind] == s_.kinds[kind].costs.size()) continue;
        const std::pair candidate(cost_of_one(loads, kind, counts[kind]), kind);
        if (!best || candidate < *best) best = candidate;
      }
      add(loads, best->second, 1);
      ++counts[best->second];
    }
    return counts;
  }

  void add(std::vector<std::vector<std::size_t>>& loads, std::size_t kind, std::size_t by) const {
    for (std::size_t key = 0; key < keys_; ++key) loads[key][s_.kinds[kind].values[key]] += by;
  }
  void take(std::vector<std::vector<std::size_t>>& loads, std::size_t kind) const {
    for (std::size_t key = 0; key < keys_; ++key) --loads[key][s_.kinds[kind].values[key]];
  }

  /// Exchanges one node for one of another kind as long as that helps.
  Counts improved(Counts counts) const {
    auto loads = loads_of(counts);
    for (int round = 0; round < rounds_max; ++round) {
      Weight best = 0;
      std::pair<std::size_t, std::size_t> exchange;
      for (std::size_t out = 0; out < counts.size(); ++out) {
        if (counts[out] == 0) continue;
        take(loads, out);
        const Weight saved = cost_of_one(loads, out, counts[out] - 1);
        for (std::size_t in = 0; in < counts.size(); ++in) {
          if (in == out || counts[in] == s_.kinds[in].costs.size()) continue;
          const Weight gain = saved - cost_of_one(loads, in, counts[in]);
          if (gain <= best) continue;
          best = gain;
          exchange = {out, in};
        }
        add(loads, out, 1);
      }
      if (best == 0) break;
      take(loads, exchange.first);
      add(loads, exchange.second, 1);
      --counts[exchange.first];
      ++counts[exchange.second];
    }
    return counts;
  }

  /// The first two keys as a flow: source -> a value of the first key -> a kind of node -> a value of the second -> sink.
  /// Exact, since every edge's cost is convex. Further keys are not looked at.
  Counts by_flow() const {
    const std::size_t left = keys_ > 0 ? s_.loads[0].size() : 1;
    const std::size_t right = keys_ > 1 ? s_.loads[1].size() : 1;
    const std::size_t source = left + right;
    const std::size_t sink = source + 1;
    const auto left_of = [&](std::size_t kind) { return keys_ > 0 ? s_.kinds[kind].values[0] : 0; };
    const auto right_of = [&](std::size_t kind) { return left + (keys_ > 1 ? s_.kinds[kind].values[1] : 0); };
    Counts counts(s_.kinds.size());
    std::vector<std::size_t> through(left + right);  // units of the flow, by value
    const auto base = [&](std::size_t value) -> std::size_t {
      if (value < left) return keys_ > 0 ? s_.loads[0][value] : 0;
      return keys_ > 1 ? s_.loads[1][value - left] : 0;
    };
    const auto value_step = [&](std::size_t value, std::size_t units) -> Weight {
      const std::size_t key = value < left ? 0 : 1;
      return key < keys_ ? step(key, base(value) + units) : 0;
    };

    constexpr Weight infinite = std::numeric_limits<std::int64_t>::max() * (Weight(1) << 60);
    struct Arrival {
      Weight distance;
      std::size_t from;
      std::size_t kind;  // that was passed, if any
      bool forward;
    };
    constexpr std::size_t no_kind = std::numeric_limits<std::size_t>::max();
    for (std::size_t n = 0; n < s_.count; ++n) {
      std::vector<Arrival> at(sink + 1, Arrival{infinite, source, no_kind, true});
      at[source].distance = 0;
      const auto relax = [&](std::size_t from, std::size_t to, Weight weight, std::size_t kind, bool forward) {
        if (at[from].distance == infinite || at[from].distance + weight >= at[to].distance) return false;
        at[to] = Arrival{at[from].distance + weight, from, kind, forward};
        return true;
      };
      // Bellman and Ford: costs of the way back are negative.
      for (bool changed = true; changed;) {
        changed = false;
        for (std::size_t value = 0; value < left; ++value) changed |= relax(source, value, value_step(value, through[value] + 1), no_kind, true);
        for (std::size_t kind = 0; kind < counts.size(); ++kind) {
          const auto& costs = s_.kinds[kind].costs;
          if (counts[kind] < costs.size()) changed |= relax(left_of(kind), right_of(kind), Weight(costs[counts[kind]]), kind, true);
          if (counts[kind] > 0) changed |= relax(right_of(kind), left_of(kind), -Weight(costs[counts[kind] - 1]), kind, false);
        }
        for (std::size_t value = left; value < left + right; ++value) changed |= relax(value, sink, value_step(value, through[value] + 1), no_kind, true);
        // A shorter way never takes a unit off the source or the sink again, since what it went through stays as full.
      }
      for (std::size_t here = sink; here != source; here = at[here].from) {
        const Arrival& arrival = at[here];
        if (here == sink) ++through[arrival.from];
        if (arrival.from == source) ++through[here];
        if (arrival.kind == no_kind) continue;
        if (arrival.forward) {
          ++counts[arrival.kind];
        } else {
          --counts[arrival.kind];
        }
      }
    }
    return counts;
  }

  /// Looks through all choices that could be better, as long as the steps last.
  void search(Counts& best) const {
    Weight best_cost = cost(best);
    std::vector<std::size_t> room(s_.kinds.size() + 1);  // nodes in the kinds from here on
    for (std::size_t kind = s_.kinds.size(); kind-- > 0;) room[kind] = room[kind + 1] + s_.kinds[kind].costs.size();
    auto loads = s_.loads;
    Counts counts(s_.kinds.size());
    std::size_t steps = 0;
    const auto visit = [&](const auto& self, std::size_t kind, std::size_t left, Weight so_far) -> void {
      if (so_far >= best_cost || left > room[kind] || ++steps > search_steps_max) return;
      if (left == 0) {
        best = counts;
        best_cost = so_far;
        return;
      }
      const std::size_t most = std::min(left, s_.kinds[kind].costs.size());
      Weight with = so_far;
      std::size_t taken = 0;
      for (;; ++taken) {
        counts[kind] = taken;
        self(self, kind + 1, left - taken, with);
        if (taken == most) break;
        with += cost_of_one(loads, kind, taken);
        add(loads, kind, 1);
      }
      for (; taken > 0; --taken) take(loads, kind);
      counts[kind] = 0;
    };
    Weight before = 0;
    for (std::size_t key = 0; key < keys_; ++key)
      for (const std::size_t load : s_.loads[key])
        for (std::size_t at = 1; at <= load; ++at) before += step(key, at);
    visit(visit, 0, s_.count, before);
  }

  const Selection& s_;
  const std::size_t keys_;
};

}  // namespace

std::vector<std::size_t> select_nodes(const Selection& selection) { return Selector(selection).run(); }

}  // namespace atl
