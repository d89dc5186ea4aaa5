#include <catch2/catch.hpp>

#include <cmath>

#include "cache/care/loss_estimate.h"

using namespace atl;

namespace {

constexpr double day = 86400;

double choose(unsigned n, unsigned m) {
  double ways = 1;
  for (unsigned i = 1; i <= m; ++i) ways *= static_cast<double>(n - m + i) / i;
  return ways;
}

double at_least(unsigned least, unsigned n, double p) {
  double sum = 0;
  for (unsigned i = least; i <= n; ++i) sum += choose(n, i) * std::pow(p, i) * std::pow(1 - p, n - i);
  return sum;
}

PlacementGroup group(unsigned k, unsigned n, unsigned lost = 0, std::map<std::string, unsigned> domains = {}) {
  PlacementGroup made;
  made.k = k;
  made.n = n;
  made.lost = lost;
  made.in_domain = std::move(domains);
  return made;
}

LossModel usual() {
  LossModel model;
  model.node_loss_rate = 0.1 / year_seconds;
  model.domain_loss_rate = 0.01 / year_seconds;
  model.grace_seconds = 7 * day;
  model.transfer_seconds = day;
  return model;
}

}  // namespace

TEST_CASE("Without repair the loss is the binomial distribution", "[care][loss]") {
  for (const double seconds : {1.0, 50.0, 400.0, 3000.0})
    CHECK(loss_without_repair(3, 6, 1e-3, 0, seconds) == Approx(at_least(4, 6, -std::expm1(-1e-3 * seconds))).epsilon(1e-9));
  // One shard is lost already: three of the other five must go.
  CHECK(loss_without_repair(3, 6, 1e-3, 1, 200) == Approx(at_least(3, 5, -std::expm1(-0.2))).epsilon(1e-9));
  CHECK(loss_without_repair(3, 6, 1e-9, 4, 1) == 1);
  CHECK(loss_without_repair(3, 6, 0, 3, 1e9) == 0);
}

TEST_CASE("A single copy is lost as its node is, and two copies as solved by hand", "[care][loss]") {
  CHECK(RepairChain({1, 1, 0.01, 0, 5}).loss_rate() == Approx(0.01).epsilon(1e-9));
  CHECK(RepairChain({1, 2, 0, 0, 20}).loss_rate() == 0);
  // A pair whose lost copy is back after the fixed time u: a loss comes after 1 / 2l, and ends it unless l misses u.
  const double l = 1e-3;
  const double u = 200;
  const double ends = -std::expm1(-l * u);
  const double cycle = 1 / (2 * l) + ends / l;
  CHECK(RepairChain({1, 2, l, 1e5, u}).loss_rate() == Approx(ends / cycle).epsilon(1e-3));
  CHECK(RepairChain({1, 2, l, 1e5, u}).loss_before_whole(1) == Approx(ends).epsilon(1e-3));
  CHECK(RepairChain({1, 2, l, 1e5, u}).loss_before_whole(2) == 1);
}

TEST_CASE("Where repair is fast the most probable path k C(n,m) C(m,2) l (l g)^(m-2) (l u)^2 holds", "[care][loss]") {
  for (const RepairLaw& law : {RepairLaw{3, 6, 1e-10, 1e5, 1e4}, RepairLaw{1, 3, 1e-10, 1e5, 1e4}, RepairLaw{2, 3, 1e-10, 1e5, 1e4},
                               RepairLaw{5, 5, 1e-10, 1e5, 1e4}}) {
    CAPTURE(law.k, law.n);
    CHECK(approximate_loss_rate(law) / RepairChain(law).loss_rate() == Approx(1).epsilon(0.12));
  }
  // With a long grace the transfer at its end does not count.
  const RepairLaw law{3, 6, 1e-11, 1e6, 1e4};
  CHECK(approximate_loss_rate(law) / RepairChain(law).loss_rate() == Approx(1).epsilon(0.03));
}

TEST_CASE("Probabilities far below what a computer adds to one come out", "[care][loss]") {
  const RepairLaw law{6, 12, 1e-11, 1e6, 1e4};
  CHECK(RepairChain(law).loss_rate() < 1e-30);
  CHECK(approximate_loss_rate(law) / RepairChain(law).loss_rate() == Approx(1).epsilon(0.15));
}

TEST_CASE("A country that holds more than may go counts with its own risk", "[care][loss]") {
  const LossModel model = usual();
  LossEstimate estimate(model);
  const double alone = estimate.loss_within(year_seconds, {group(3, 6)});
  CHECK(alone < 1e-7);
  CHECK(estimate.loss_within(year_seconds, {group(3, 6, 0, {{"country=de", 4}, {"country=fr", 2}})}) == Approx(0.00995).epsilon(0.02));
  CHECK(estimate.loss_within(year_seconds, {group(3, 6, 0, {{"country=de", 3}, {"country=fr", 3}})}) < 0.0002);
  // A single shard is no domain's: its node's own risk is counted already.
  CHECK(estimate.loss_within(year_seconds, {group(3, 6, 0, {{"host=a", 1}})}) == alone);
}

TEST_CASE("Large placements are estimated as well, and at once", "[care][loss]") {
  LossEstimate estimate(usual());
  PlacementGroup large = group(29, 80, 0, {{"country=de", 27}, {"country=fr", 27}, {"country=us", 26}});
  large.repaired_below = 63;
  CHECK(estimate.loss_within(year_seconds, {large}) == Approx(1.3e-5).epsilon(0.05));  // two countries within eight days
  large.in_domain["country=de"] = 52;
  CHECK(estimate.loss_within(year_seconds, {large}) == Approx(0.00995).epsilon(0.02));
  large.lost = 52;
  CHECK(estimate.loss_within(year_seconds, {large}) == 1);
}

TEST_CASE("Slow repair, more nodes that go and rot that nobody finds for long make loss likelier", "[care][loss]") {
  const auto with = [](auto change) {
    LossModel model = usual();
    change(model);
    return LossEstimate(model).loss_within(year_seconds, {group(3, 6)});
  };
  const double before = with([](LossModel&) {});
  CHECK(with([](LossModel& m) { m.transfer_seconds *= 3; }) > 5 * before);
  CHECK(with([](LossModel& m) { m.grace_seconds *= 3; }) > 2 * before);
  CHECK(with([](LossModel& m) { m.node_loss_rate *= 2; }) > 10 * before);
  CHECK(with([](LossModel& m) { m.rot_rate = 1 / year_seconds; m.find_seconds = day; }) > 2 * before);
}

TEST_CASE("The days for which a drive may be left alone are those of the binomial", "[care][loss]") {
  LossModel model;
  model.node_loss_rate = 0.1 / year_seconds;
  model.grace_seconds = 1e5;  // nobody is there to use it
  const LossEstimate estimate(model);
  const unsigned days = estimate.safe_days({group(3, 6)});
  const auto lost = [&](unsigned d) { return at_least(4, 6, -std::expm1(-model.node_loss_rate * d * day)); };
  CHECK(lost(days) <= 1e-5);
  CHECK(lost(days + 1) > 1e-5);
  CHECK(days > 90);
  CHECK(estimate.safe_days({group(3, 6, 3)}) == 0);
}

TEST_CASE("A node's loss rate begins as an assumption and becomes what was seen", "[care][loss]") {
  CHECK(observed_loss_rate(0, 0) * year_seconds == Approx(0.1));
  CHECK(observed_loss_rate(0, 9 * year_seconds) * year_seconds == Approx(0.01));
  CHECK(observed_loss_rate(50, 99 * year_seconds) * year_seconds == Approx(0.501));
  CHECK(rounded_up(0.1) == Approx(0.1));
  for (const double rate : {3.17e-9, 2.5, 0.0999}) {
    CHECK(rounded_up(rate) >= rate * 0.999999);
    CHECK(rounded_up(rate) < rate * 1.05);
    CHECK(rounded_up(rounded_up(rate)) == Approx(rounded_up(rate)));
  }
}
