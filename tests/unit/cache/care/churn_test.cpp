// Virtual years of nodes that come and go, with the real plan of repairs, beside what is predicted.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "cache/care/loss_estimate.h"
#include "cache/care/plan.h"
#include "tests/support/effort.h"
#include "tests/support/seeded_random.h"

using namespace atl;

namespace {

constexpr double day = 86400;
constexpr double never = std::numeric_limits<double>::infinity();

struct Churn {
  std::uint8_t k = 2;
  std::uint8_t n = 4;
  double losses_a_year = 1;           // of each node
  unsigned countries = 0;             // that the nodes lie in, evenly
  double countries_lost_a_year = 0;   // each
  double rots_a_year = 0;             // of each shard, silently
  double audit_days = 0;              // until an audit meets such a shard, in the mean
  double back_after_days = 0;         // half to one and a half times this after they went, nodes return
  bool some_stay_away = false;        // every third does not
  double grace = 7 * day;
  double transfer = day;
};

/// One segment, its nodes, and whoever repairs: one job at a time, each as long as a transfer; another node always stands
/// by. Times are fixed where the product's are.
class Life {
 public:
  Life(const Churn& churn, SeededRandom& random) : churn_(churn), random_(random) {
    row_.has_attempt = true;
    row_.k = churn.k;
    row_.n = churn.n;
    for (std::uint8_t i = 0; i < churn.n; ++i) {
      row_.placed.push_back({ShardIndex(i), fresh()});
      fates_[row_.placed.back().node] = NodeFate::present;
      slots_.emplace_back();
    }
  }

  /// Goes on until `end`, with or without anybody who repairs.
  void live_until(double end, bool repaired = true) {
    while (!lost_) {
      if (repaired && !job_ends_) begin_job();
      const double next = draw_next();
      if (next > end) break;
      now_ = next;
      happen();
      judge();
    }
    now_ = end;
  }
  /// Fewer than k shards are left anywhere.
  bool lost() const { return lost_; }
  /// At some time fewer than k shards could be read.
  bool unreadable() const { return unreadable_; }
  unsigned repairs() const { return repairs_; }

 private:
  struct Slot {
    double gone_at = never;    // its node went
    double back_at = never;
    bool rotten = false;
  };
  enum class What { loss, country, rot, found, overdue, back, job };

  NodeId fresh() {
    NodeId id;
    for (std::size_t i = 0; i < 8; ++i) id.bytes[i] = static_cast<std::uint8_t>(nodes_ >> (8 * i));
    ++nodes_;
    return id;
  }
  double unit() { return (static_cast<double>(random_.u64() >> 11) + 0.5) * 0x1p-53; }
  bool there(std::size_t i) const { return slots_[i].gone_at == never; }
  bool known_bad(std::size_t i) const { return bad_.contains({row_.attempt, row_.placed[i]}); }

  /// The next thing that happens. Draws without memory are made anew each time.
  double draw_next() {
    double next = never;
    const auto at = [&](double when, What what, std::size_t who) {
      if (when >= next) return;
      next = std::max(when, now_);
      what_ = what;
      who_ = who;
    };
    const auto drawn = [&](double rate, What what, std::size_t who) {
      if (rate > 0) at(now_ - std::log(unit()) / rate, what, who);
    };
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (there(i)) {
        drawn(churn_.losses_a_year / year_seconds, What::loss, i);
        if (!slots_[i].rotten && !known_bad(i)) drawn(churn_.rots_a_year / year_seconds, What::rot, i);
        if (slots_[i].rotten && !known_bad(i)) drawn(1 / (churn_.audit_days * day), What::found, i);
      } else {
        at(slots_[i].back_at, What::back, i);
        if (fates_[row_.placed[i].node] == NodeFate::away) at(slots_[i].gone_at + churn_.grace, What::overdue, i);
      }
    }
    for (std::size_t i = 0; i < churn_.countries; ++i) drawn(churn_.countries_lost_a_year / year_seconds, What::country, i);
    if (job_ends_) at(*job_ends_, What::job, 0);
    return next;
  }

  void lose(std::size_t i) {
    slots_[i].gone_at = now_;
    const bool returns = churn_.back_after_days > 0 && !(churn_.some_stay_away && random_.u64() % 3 == 0);
    slots_[i].back_at = returns ? now_ + churn_.back_after_days * day * (0.5 + unit()) : never;
    fates_[row_.placed[i].node] = NodeFate::away;
  }

  void happen() {
    switch (what_) {
      case What::loss: return lose(who_);
      case What::country:
        for (std::size_t i = who_; i < slots_.size(); i += churn_.countries)
          if (there(i)) lose(i);
        return;
      case What::rot: slots_[who_].rotten = true; return;
      case What::found: bad_.insert({row_.attempt, row_.placed[who_]}); return;
      case What::overdue: fates_[row_.placed[who_].node] = NodeFate::overdue; return;
      case What::back:
        slots_[who_].gone_at = slots_[who_].back_at = never;
        fates_[row_.placed[who_].node] = NodeFate::present;
        return;
      case What::job: return end_job();
    }
  }

  void begin_job() {
    const CareJob job = plan_segment(SegmentId(1), row_, assess(row_, fates_, bad_), static_cast<std::uint8_t>(churn_.n - 1));
    if (job.rebuild.empty()) return;
    rebuilding_ = job.rebuild;
    job_ends_ = now_ + churn_.transfer;
  }
  void end_job() {
    ++repairs_;
    job_ends_.reset();
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      const ShardHome home = row_.placed[i];
      const bool wanted = std::find(rebuilding_.begin(), rebuilding_.end(), home) != rebuilding_.end() && (!there(i) || known_bad(i));
      if (!wanted) continue;
      fates_.erase(home.node);
      bad_.erase({row_.attempt, home});
      row_.placed[i].node = fresh();
      fates_[row_.placed[i].node] = NodeFate::present;
      slots_[i] = {};
    }
  }

  void judge() {
    unsigned readable = 0;
    unsigned somewhere = 0;
    for (const Slot& slot : slots_) {
      if (slot.rotten) continue;
      readable += slot.gone_at == never ? 1 : 0;
      somewhere += slot.gone_at == never || slot.back_at != never ? 1 : 0;
    }
    unreadable_ |= readable < churn_.k;
    lost_ |= somewhere < churn_.k;
  }

  const Churn churn_;
  SeededRandom& random_;
  SegmentRow row_;
  NodeFates fates_;
  BadShards bad_;
  std::vector<Slot> slots_;  // as row_.placed
  std::uint64_t nodes_ = 1;
  double now_ = 0;
  std::optional<double> job_ends_;
  std::vector<ShardHome> rebuilding_;
  What what_ = What::loss;
  std::size_t who_ = 0;
  bool lost_ = false;
  bool unreadable_ = false;
  unsigned repairs_ = 0;
};

LossModel model_of(const Churn& churn) {
  LossModel model;
  model.node_loss_rate = churn.losses_a_year / year_seconds;
  model.domain_loss_rate = churn.countries_lost_a_year / year_seconds;
  model.grace_seconds = churn.grace;
  model.transfer_seconds = churn.transfer;
  model.rot_rate = churn.rots_a_year / year_seconds;
  model.find_seconds = churn.audit_days * day;
  return model;
}

PlacementGroup placement_of(const Churn& churn) {
  PlacementGroup group;
  group.k = churn.k;
  group.n = churn.n;
  for (unsigned i = 0; i < churn.n && churn.countries > 0; ++i) ++group.in_domain["country=" + std::to_string(i % churn.countries)];
  return group;
}

/// So many years that about a third of all lives end by them.
double telling_years(const Churn& churn) {
  LossEstimate estimate(model_of(churn));
  const double yearly = estimate.loss_within(year_seconds / 100, {placement_of(churn)}) * 100;
  REQUIRE(yearly > 0.001);
  return std::clamp(0.4 / yearly, 1.0, 100.0);
}

struct Tally {
  int lives = 0;
  int lost = 0;
  int unreadable = 0;
  double share() const { return lost / static_cast<double>(lives); }
  double share_unreadable() const { return unreadable / static_cast<double>(lives); }
};

template <typename Story>
Tally tally(const Churn& churn, std::uint64_t seed, int lives, Story story) {
  SeededRandom random(seed);
  Tally seen;
  for (; seen.lives < lives; ++seen.lives) {
    Life life(churn, random);
    story(life);
    seen.lost += life.lost() ? 1 : 0;
    seen.unreadable += life.unreadable() ? 1 : 0;
  }
  return seen;
}

/// Three standard deviations of the count, and two hundredths of the prediction: that each life begins whole, for one.
void check_agrees(double predicted, double seen, int lives) {
  const double error = 3 * std::sqrt(predicted * (1 - predicted) / lives) + 0.02 * predicted;
  CAPTURE(predicted, seen, error);
  CHECK(predicted > 0.02);
  CHECK(predicted < 0.98);
  CHECK(std::abs(predicted - seen) < error);
}

}  // namespace

TEST_CASE("In virtual years of churn, with the plan that repairs follow, as much is lost as is predicted", "[care][loss]") {
  const auto churn = GENERATE(Churn{1, 2, 3}, Churn{2, 3, 2}, Churn{2, 4, 8}, Churn{3, 6, 8}, Churn{1, 3, 14}, Churn{4, 8, 12}, Churn{6, 12, 15});
  const double years = telling_years(churn);
  const Tally seen = tally(churn, churn.n * 100u + churn.k, effort(2000, 100), [&](Life& life) { life.live_until(years * year_seconds); });
  LossEstimate estimate(model_of(churn));
  CAPTURE(int{churn.k}, int{churn.n}, years);
  check_agrees(estimate.loss_within(years * year_seconds, {placement_of(churn)}), seen.share(), seen.lives);
}

TEST_CASE("Where a country goes now and then as a whole, as much is lost as is predicted", "[care][loss]") {
  Churn churn{3, 6, 4};
  churn.countries = GENERATE(2u, 3u);
  churn.countries_lost_a_year = 0.5;
  const double years = telling_years(churn);
  const Tally seen = tally(churn, 4711 + churn.countries, effort(2000, 100), [&](Life& life) { life.live_until(years * year_seconds); });
  LossEstimate estimate(model_of(churn));
  CAPTURE(churn.countries, years);
  check_agrees(estimate.loss_within(years * year_seconds, {placement_of(churn)}), seen.share(), seen.lives);
}

TEST_CASE("Where shards rot and only audits find them, as much is lost as is predicted", "[care][loss]") {
  Churn churn{2, 4, 3};
  churn.rots_a_year = 6;
  churn.audit_days = GENERATE(0.2, 2.0, 20.0);
  const double years = telling_years(churn);
  const Tally seen = tally(churn, 99, effort(2000, 100), [&](Life& life) { life.live_until(years * year_seconds); });
  LossEstimate estimate(model_of(churn));
  CAPTURE(churn.audit_days, years);
  check_agrees(estimate.loss_within(years * year_seconds, {placement_of(churn)}), seen.share(), seen.lives);
}

TEST_CASE("Nodes that return after weeks make a drive unreadable as often as is predicted, and lose far less", "[care][loss]") {
  Churn churn{3, 6, 8};
  churn.back_after_days = 30;
  churn.some_stay_away = true;
  const double years = telling_years(churn);
  const Tally seen = tally(churn, 31, effort(2000, 100), [&](Life& life) { life.live_until(years * year_seconds); });
  LossEstimate estimate(model_of(churn));
  CAPTURE(years);
  check_agrees(estimate.loss_within(years * year_seconds, {placement_of(churn)}), seen.share_unreadable(), seen.lives);
  CHECK(seen.lost * 4 < seen.unreadable);
}

TEST_CASE("Nodes that return before the grace is over cost no repair while the margin is wide", "[care][loss]") {
  Churn churn{2, 8, 2};
  churn.back_after_days = 4;
  SeededRandom random(5);
  Life life(churn, random);
  life.live_until(10 * year_seconds);
  CHECK_FALSE(life.lost());
  CHECK(life.repairs() == 0);
}

TEST_CASE("While the owner is away for 90 days as much is lost as is predicted, and a delegate that repairs makes it rare", "[care][loss]") {
  const Churn churn{3, 6, 1.2};
  const double away = 90 * day;
  const LossModel model = model_of(churn);
  LossEstimate estimate(model);
  // What was lost when the owner returns is rebuilt, and a little more may go until then.
  const double gone = -std::expm1(-model.node_loss_rate * away);
  const RepairChain repaired({churn.k, churn.n, model.node_loss_rate, churn.grace, churn.transfer});
  double predicted = estimate.loss_while_away(away, {placement_of(churn)});
  const double ways[] = {1, 6, 15, 20};
  for (unsigned lost = 1; lost <= 3; ++lost) predicted += ways[lost] * std::pow(gone, lost) * std::pow(1 - gone, 6 - lost) * repaired.loss_before_whole(lost);
  const Tally seen = tally(churn, 90, effort(20'000, 1000), [&](Life& life) {
    life.live_until(away, false);
    life.live_until(away + 30 * day);
  });
  check_agrees(predicted, seen.share(), seen.lives);
  const Tally with_delegate = tally(churn, 91, effort(20'000, 1000), [&](Life& life) { life.live_until(away + 30 * day); });
  const double then = estimate.loss_within(away + 30 * day, {placement_of(churn)});
  CHECK(with_delegate.share() <= then + 3 * std::sqrt(then / with_delegate.lives));
  CHECK(with_delegate.lost * 20 < seen.lost);
}

TEST_CASE("A drive that nobody repairs is safe for as many days as it says, and not for many more", "[care][loss]") {
  Churn churn{3, 6, 1};
  churn.countries = 3;
  churn.countries_lost_a_year = 0.05;
  constexpr double risk = 2e-3;
  LossEstimate estimate(model_of(churn));
  const unsigned days = estimate.safe_days({placement_of(churn)}, risk);
  const auto share = [&](double for_days) {
    return tally(churn, 7, effort(100'000, 3000), [&](Life& life) { life.live_until(for_days * day, false); }).share();
  };
  const double error = 3 * std::sqrt(risk / effort(100'000, 3000));
  CAPTURE(days, error);
  CHECK(days > 10);
  CHECK(share(days) < risk + error);
  CHECK(share(2.0 * days) > 2 * risk);
}
