// What the engine knows of each node's health, from the outcome of every call and from probes.
//
//   absent  cannot be reached or is another node; calls timed out; or three failures in a row
//   lying   an answer did not verify; until three in a row did, or ten minutes have passed
//   full    refused for want of space; until there is more, something was removed, or a minute has passed
//   slow    nine of ten recent reads were answered later than slow_after
//   ok      otherwise
//
// All calls on the loop's thread, except snapshot(). Nodes are known by their index.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/engine.h"
#include "engine/loop/loop.h"
#include "engine/node/node.h"
#include "engine/statistics.h"

namespace atl {

/// Recent latencies of one node's calls.
class LatencyWindow {
 public:
  void add(Duration latency);
  /// The latency that `percent` of the recent reads did not exceed; zero while fewer than four are known.
  Duration percentile(unsigned percent) const;

 private:
  static constexpr std::size_t window = 32;
  std::array<Duration, window> recent_{};
  std::size_t count_ = 0;  // all ever added
};

class HealthTable {
 public:
  static constexpr Duration slow_after = std::chrono::seconds(1);
  static constexpr Duration full_for_max = std::chrono::minutes(1);
  static constexpr Duration lying_for_max = std::chrono::minutes(10);
  static constexpr int failures_max = 3;
  static constexpr int verified_to_trust = 3;
  static constexpr int lags_max = 2;
  static constexpr Duration tardy_for = std::chrono::minutes(5);

  HealthTable(Loop& loop, const std::vector<NodeSpec>& specs);
  /// What the node says of its kind (Node::ship_interval).
  void likes(std::size_t node, Duration ship_interval);

  /// A further node; its index. It is absent until it answers.
  std::size_t add(const NodeSpec& spec);
  /// The node is none of the drive's any more: absent for ever, and not shown.
  void retire(std::size_t node);
  bool retired(std::size_t node) const { return marks_[node].retired; }
  /// Other labels, or whether it drains; address and id as they are.
  void respecify(std::size_t node, const NodeSpec& spec);

  NodeState state(std::size_t node) const { return statuses_[node].state; }
  bool reachable(std::size_t node) const { return state(node) != NodeState::absent; }
  /// Whether new objects may go there.
  bool placeable(std::size_t node) const {
    return !statuses_[node].spec.draining && (state(node) == NodeState::ok || state(node) == NodeState::slow);
  }
  const NodeStatus& status(std::size_t node) const { return statuses_[node]; }
  /// New objects go there only where other nodes would do no better otherwise: it is slow, or was late with a put in
  /// the last minutes.
  bool tardy(std::size_t node) const {
    return state(node) == NodeState::slow || (marks_[node].late_at && loop_.now() - *marks_[node].late_at < tardy_for);
  }
  /// Whether it said anything in the last `time`, be it that it cannot do what it was asked.
  bool heard_within(std::size_t node, Duration time) const { return is_within(marks_[node].heard_at, time); }
  /// Whether it said in the last `time` what room it has.
  bool measured_within(std::size_t node, Duration time) const { return is_within(marks_[node].measured_at, time); }
  Duration read_latency(std::size_t node, unsigned percent) const { return marks_[node].reads.percentile(percent); }

  void answered(std::size_t node);
  void read_took(std::size_t node, Duration latency);
  void write_took(std::size_t node, Duration latency);
  void failed(std::size_t node, const Error& error);
  /// A put took several times as long there as on other nodes.
  void was_late(std::size_t node);
  /// Others had to be asked in its place, and were quicker; or its answer was of use.
  void lagged(std::size_t node) { ++marks_[node].lags; }
  void kept_up(std::size_t node) { marks_[node].lags = 0; }
  bool lags(std::size_t node) const { return marks_[node].lags >= lags_max; }
  void verified(std::size_t node);
  void answered_badly(std::size_t node, std::string what);
  void stored(std::size_t node, std::uint64_t bytes);
  void removed(std::size_t node);
  void measured(std::size_t node, const NodeUsage& usage);

  /// Called after each change of a state.
  void on_change(std::function<void(std::size_t node)> callback) { changed_ = std::move(callback); }
  /// Any thread.
  std::vector<NodeStatus> snapshot() const;
  /// Any thread.
  std::map<NodeId, NodeStatistics> statistics() const;
  /// Any thread.
  std::map<NodeId, Duration> ship_intervals() const;

 private:
  struct Marks {
    bool reachable = false;
    bool retired = false;
    int failures = 0;  // in a row
    std::optional<MonotonicTime> full_since;
    std::uint64_t free_when_full = 0;
    std::optional<MonotonicTime> lying_since;
    int verified = 0;  // in a row, while lying
    std::optional<MonotonicTime> late_at;
    std::optional<MonotonicTime> heard_at;
    std::optional<MonotonicTime> measured_at;
    int lags = 0;      // in a row
    LatencyWindow reads;
    LatencyWindow writes;
  };

  NodeState derive(const Marks& marks) const;
  bool is_within(const std::optional<MonotonicTime>& when, Duration time) const { return when && loop_.now() - *when < time; }
  void update(std::size_t node, const std::function<void(NodeStatus&)>& edit);
  void count(std::size_t node, const std::function<void(NodeStatistics&)>& edit);

  Loop& loop_;
  std::deque<Marks> marks_;
  std::function<void(std::size_t)> changed_;
  mutable std::mutex mutex_;           // written by the loop's thread under it, so that this thread reads without
  std::deque<NodeStatus> statuses_;
  std::deque<NodeStatistics> statistics_;
  std::deque<Duration> ship_intervals_;
};

}  // namespace atl
