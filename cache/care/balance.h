// Which shards would lie better elsewhere, after nodes came or labels changed. Pure; not thread-safe.
//
// First, labels: where a value of one holds more shards of a segment than may be lost, and another node does not, a shard
// goes there; the more important key decides, as in placement. Then, load: nodes that are fuller than the average (of
// the room that they give this drive: what lies there and what is free) give to those that are emptier by a quarter. A move never breaks what a label promised, and never turns the order of the two nodes, so that moves come to an end.
#pragma once

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "cache/index/rows.h"

namespace atl {

struct BalanceNode {
  Labels labels;
  std::uint64_t used_bytes = 0;  // by shards of this drive
  std::uint64_t free_bytes = 0;
  bool takes = false;            // may be given something
};

class Balance {
 public:
  explicit Balance(std::map<NodeId, BalanceNode> nodes);

  struct Move {
    ShardHome from;
    NodeId to;
  };
  /// The best move for a segment with an attempt, whose objects have this size; none if it lies well, or not all of its
  /// homes are among the nodes.
  std::optional<Move> choose(const SegmentRow& row, std::uint64_t object_bytes) const;
  /// Counts a move that is made.
  void made(const Move& move, std::uint64_t object_bytes);

 private:
  using Spread = std::map<std::string, std::map<std::string, unsigned>>;  // key -> value -> shards
  static const std::string& value_of(const BalanceNode& node, const std::string& key);
  double fill(const BalanceNode& node) const;
  bool breaks(const Spread& spread, unsigned limit, const BalanceNode& from, const BalanceNode& to, const std::vector<std::string>& keys) const;
  std::optional<Move> mend_labels(const SegmentRow& row, const Spread& spread, unsigned limit, std::uint64_t object_bytes) const;
  std::optional<Move> even_load(const SegmentRow& row, const Spread& spread, unsigned limit, std::uint64_t object_bytes) const;

  std::map<NodeId, BalanceNode> nodes_;
  std::vector<std::string> keys_;  // the most important first
  double average_ = 0;
};

}  // namespace atl
