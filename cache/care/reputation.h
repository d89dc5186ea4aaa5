// What a node's answers to audits say about it. Pure values.
//
// The score is Storj's (its white paper, 4.15, and the satellite's reputation settings): a Beta distribution that
// forgets. An answer v (1 right, 0 wrong) makes  alpha = l alpha + (1 + v') / 2,  beta = l beta + (1 - v') / 2  with
// v' = 2 v - 1 and l = 0.999; the score is alpha / (alpha + beta), and a node begins with alpha 1000, beta 0. So half of
// what was seen is forgotten after ln 2 / -ln l = 693 audits: a day and a half at 460 a day. Below 0.96 Storj ends its
// business with a node; here the node is `failing`: it gets nothing new, and what it holds is rebuilt elsewhere. That
// takes 41 wrong answers in a row, or more than one wrong in 25 for some days. One wrong answer already makes a node
// `doubted`, until as many right ones came that a node which lost a hundredth would have failed with 99 % probability.
// Being absent is no wrong answer. Being there and not answering for a shard, asked `silent_max` times, is.
#pragma once

#include <cstdint>
#include <string_view>

namespace atl {

/// So many random samples find a node that lost a hundredth with 99 % probability: 1 - 0.99^459.
inline constexpr unsigned audits_per_day = 460;

enum class Trust { good, doubted, failing };
std::string_view to_string(Trust trust);

class Reputation {
 public:
  static constexpr double forget = 0.999;
  static constexpr double begin_alpha = 1000;
  static constexpr double failing_below = 0.96;
  static constexpr unsigned silent_max = 3;

  void right();
  void late() { ++late_; }  // right as well, but slow: counted for people to see
  void wrong();
  void silent() { ++silent_; }

  double score() const { return alpha_ / (alpha_ + beta_); }
  Trust trust() const;

  std::uint64_t answered() const { return right_ + wrong_; }
  std::uint64_t wrong_answers() const { return wrong_; }
  std::uint64_t late_answers() const { return late_; }
  std::uint64_t silences() const { return silent_; }
  std::uint64_t right_since_wrong() const { return since_wrong_; }

  /// For storing: the numbers that make it up.
  struct Numbers {
    double alpha = begin_alpha;
    double beta = 0;
    std::uint64_t right = 0, wrong = 0, late = 0, silent = 0, since_wrong = 0;
  };
  Numbers numbers() const { return {alpha_, beta_, right_, wrong_, late_, silent_, since_wrong_}; }
  /// Numbers that no history leads to give a fresh reputation.
  static Reputation of(const Numbers& numbers);

 private:
  double alpha_ = begin_alpha;
  double beta_ = 0;
  std::uint64_t right_ = 0, wrong_ = 0, late_ = 0, silent_ = 0;
  std::uint64_t since_wrong_ = 0;
};

}  // namespace atl
