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
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/engine.h"
#include "engine/loop/loop.h"
#include "engine/node/node.h"

namespace atl {

/// Recent latencies of one node's reads.
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

  HealthTable(Loop& loop, const std::vector<NodeSpec>& specs);

  NodeState state(std::size_t node) const { return statuses_[node].state; }
  bool reachable(std::size_t node) const { return state(node) != NodeState::absent; }
  /// Whether new objects may go there.
  bool placeable(std::size_t node) const { return state(node) == NodeState::ok || state(node) == NodeState::slow; }
  const NodeStatus& status(std::size_t node) const { return statuses_[node]; }
  Duration read_latency(std::size_t node, unsigned percent) const { return marks_[node].reads.percentile(percent); }

  void answered(std::size_t node);
  void read_took(std::size_t node, Duration latency);
  void failed(std::size_t node, const Error& error);
  void verified(std::size_t node);
  void answered_badly(std::size_t node, std::string what);
  void stored(std::size_t node, std::uint64_t bytes);
  void removed(std::size_t node);
  void measured(std::size_t node, const NodeUsage& usage);

  /// Called after each change of a state.
  void on_change(std::function<void(std::size_t node)> callback) { changed_ = std::move(callback); }
  /// Any thread.
  std::vector<NodeStatus> snapshot() const;

 private:
  struct Marks {
    bool reachable = false;
    int failures = 0;  // in a row
    std::optional<MonotonicTime> full_since;
    std::uint64_t free_when_full = 0;
    std::optional<MonotonicTime> lying_since;
    int verified = 0;  // in a row, while lying
    LatencyWindow reads;
  };

  NodeState derive(const Marks& marks) const;
  void update(std::size_t node, const std::function<void(NodeStatus&)>& edit);

  Loop& loop_;
  std::vector<Marks> marks_;
  std::function<void(std::size_t)> changed_;
  mutable std::mutex mutex_;           // written by the loop's thread under it, so that this thread reads without
  std::vector<NodeStatus> statuses_;
};

}  // namespace atl
