#include "cache/care/reputation.h"

#include <cmath>

namespace atl {

std::string_view to_string(Trust trust) {
  switch (trust) {
    case Trust::good: return "good";
    case Trust::doubted: return "doubted";
    case Trust::failing: return "failing";
  }
  return "good";
}

void Reputation::right() {
  alpha_ = forget * alpha_ + 1;
  beta_ = forget * beta_;
  ++right_;
  ++since_wrong_;
}

void Reputation::wrong() {
  alpha_ = forget * alpha_;
  beta_ = forget * beta_ + 1;
  ++wrong_;
  since_wrong_ = 0;
}

Trust Reputation::trust() const {
  if (score() < failing_below) return Trust::failing;
  return wrong_ > 0 && since_wrong_ < audits_per_day ? Trust::doubted : Trust::good;
}

Reputation Reputation::of(const Numbers& numbers) {
  Reputation made;
  const bool sound = std::isfinite(numbers.alpha) && std::isfinite(numbers.beta) && numbers.alpha >= 0 && numbers.beta >= 0 &&
                     numbers.alpha + numbers.beta > 0;
  if (!sound) return made;
  made.alpha_ = numbers.alpha;
  made.beta_ = numbers.beta;
  made.right_ = numbers.right;
  made.wrong_ = numbers.wrong;
  made.late_ = numbers.late;
  made.silent_ = numbers.silent;
  made.since_wrong_ = numbers.since_wrong;
  return made;
}

}  // namespace atl
