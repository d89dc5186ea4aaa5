// How long one placement lasts under the repairs that Atoll makes, as an absorbing Markov chain. Pure functions; what it
// rests on is explained in ARCHITECTURE.md, "Care".
//
// A placement is n shards on n nodes, of which any k bring the data back; m = n - k. Nodes are lost for good, each at the
// same rate, independently. What plan.h and ShardMover do about it has no exponential times in it:
//   - while more than one further loss can be survived, a lost shard waits for the grace, a fixed time, and is then rebuilt,
//   - once no more than one can be, all that is lost is rebuilt together, in one job,
//   - a job takes the time of the transfer, and a placement has one job at a time: what is lost meanwhile waits,
//   - shards that go bad silently are found by audits, which draw at random (that time is exponential), and then rebuilt
//     at once.
// Fixed times are passed through in stages of equal rates (Erlang; D. R. Cox, "A use of complex probabilities in the theory
// of stochastic processes", 1955), so that all is a Markov chain; it is solved with some stages and with twice as many, and
// carried on to infinitely many (Richardson, on logarithms). What exponential repairs would give is another number: M.
// Greenan, Plank, Wylie, "Mean time to meaningless", HotStorage 2010; Venkatesan and Iliadis, "A general reliability model
// for data storage systems", QEST 2012, whose most probable path gives approximate_loss_rate().
//
// Rates are per second, times in seconds. Every sum has positive terms only: probabilities of 1e-30 come out as exactly as
// those of a half.
#pragma once

#include <vector>

namespace atl {

struct RepairLaw {
  unsigned k = 1;
  unsigned n = 1;
  double loss_rate = 0;         // of one node
  double grace_seconds = 0;
  double transfer_seconds = 1;  // more than 0
  double rot_rate = 0;          // of one shard, silently
  double find_seconds = 0;      // until an audit meets it, in the mean
};

class RepairChain {
 public:
  /// Solves the chain: some milliseconds.
  explicit RepairChain(const RepairLaw& law);

  /// Losses a second, in the long run, from placements that are whole to begin with. Times the seconds it is the
  /// probability, while that is small.
  double loss_rate() const { return loss_rate_; }
  /// Probability that a placement of which so many shards have just been lost loses data before it is whole again.
  double loss_before_whole(unsigned lost) const;
  /// Probability that data is lost, before all is whole again, since so many of the placement's nodes go together at a
  /// time that has nothing to do with its state. What would have been lost anyhow is not in it.
  double loss_in_blow(unsigned nodes) const;

 private:
  unsigned survives_ = 0;  // m
  double loss_rate_ = 0;
  std::vector<double> before_whole_;  // by shards lost
  std::vector<double> in_blow_;       // by nodes that go
};

/// By the most probable path, where losses are rare: k C(n, m) C(m, 2) l (l g)^(m-2) (l u)^2, with g the grace and the
/// transfer, and u the transfer alone; k C(n, m) l (l u)^m for m below two.
double approximate_loss_rate(const RepairLaw& law);

/// Probability that fewer than k of n shards, of which `lost` are gone now, are left after `seconds` in which nobody repairs:
/// a binomial tail.
double loss_without_repair(unsigned k, unsigned n, double loss_rate, unsigned lost, double seconds);

}  // namespace atl
