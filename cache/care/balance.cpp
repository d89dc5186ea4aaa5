#include "cache/care/balance.h"

#include <algorithm>
#include <set>

#include "engine/base/mutant.h"
#include "engine/placement/placement.h"

namespace atl {
namespace {

constexpr double much = 0.25;  // of the average

bool holds(const SegmentRow& row, const NodeId& node) {
  return std::any_of(row.placed.begin(), row.placed.end(), [&](const ShardHome& home) { return home.node == node; });
}

}  // namespace

Balance::Balance(std::map<NodeId, BalanceNode> nodes) : nodes_(std::move(nodes)) {
  std::set<std::string> keys;
  double used = 0;
  double room = 0;
  for (const auto& [id, node] : nodes_) {
    for (const auto& label : node.labels) keys.insert(label.first);
    used += static_cast<double>(node.used_bytes);
    room += static_cast<double>(node.used_bytes) + static_cast<double>(node.free_bytes);
  }
  keys_ = by_importance({keys.begin(), keys.end()});
  average_ = room > 0 ? used / room : 0;
}

const std::string& Balance::value_of(const BalanceNode& node, const std::string& key) {
  static const std::string none;
  const auto found = node.labels.find(key);
  return found == node.labels.end() ? none : found->second;
}

double Balance::fill(const BalanceNode& node) const {
  const double room = static_cast<double>(node.used_bytes) + static_cast<double>(node.free_bytes);
  return room > 0 ? static_cast<double>(node.used_bytes) / room : 1;
}

/// Whether a value of one of these keys would hold more than may be lost, and more than before.
bool Balance::breaks(const Spread& spread, unsigned limit, const BalanceNode& from, const BalanceNode& to, const std::vector<std::string>& keys) const {
  return std::any_of(keys.begin(), keys.end(), [&](const std::string& key) {
    const std::string& value = value_of(to, key);
    if (value == value_of(from, key)) return false;
    const auto& counts = spread.at(key);
    const auto now = counts.find(value);
    return (now == counts.end() ? 0 : now->second) + 1 > limit && !mutant("balance-ignores-labels");
  });
}

std::optional<Balance::Move> Balance::choose(const SegmentRow& row, std::uint64_t object_bytes) const {
  Spread spread;
  for (const std::string& key : keys_) spread[key];
  for (const ShardHome& home : row.placed) {
    const auto node = nodes_.find(home.node);
    if (node == nodes_.end()) return std::nullopt;
    for (const std::string& key : keys_) ++spread[key][value_of(node->second, key)];
  }
  const unsigned limit = row.n - row.k;
  if (auto move = mend_labels(row, spread, limit, object_bytes)) return move;
  return even_load(row, spread, limit, object_bytes);
}

std::optional<Balance::Move> Balance::mend_labels(const SegmentRow& row, const Spread& spread, unsigned limit, std::uint64_t object_bytes) const {
  std::vector<std::string> more_important;
  for (const std::string& key : keys_) {
    more_important.push_back(key);
    for (const auto& [value, count] : spread.at(key)) {
      if (count <= limit) continue;
      // The fullest gives, the emptiest takes.
      std::optional<Move> best;
      double gain = 0;
      for (const ShardHome& home : row.placed) {
        const BalanceNode& from = nodes_.at(home.node);
        if (value_of(from, key) != value) continue;
        for (const auto& [id, to] : nodes_) {
          if (!to.takes || holds(row, id) || to.free_bytes <= object_bytes || value_of(to, key) == value) continue;
          if (breaks(spread, limit, from, to, more_important)) continue;
          const double this_gain = 2 + fill(from) - fill(to);
          if (this_gain <= gain) continue;
          gain = this_gain;
          best = Move{home, id};
        }
      }
      if (best) return best;
    }
  }
  return std::nullopt;
}

std::optional<Balance::Move> Balance::even_load(const SegmentRow& row, const Spread& spread, unsigned limit, std::uint64_t object_bytes) const {
  std::optional<Move> best;
  double gain = 0;
  for (const ShardHome& home : row.placed) {
    const BalanceNode& from = nodes_.at(home.node);
    if (fill(from) <= average_) continue;
    for (const auto& [id, to] : nodes_) {
      if (!to.takes || holds(row, id) || to.free_bytes <= object_bytes || fill(to) >= average_ * (1 - much)) continue;
      BalanceNode lighter = from;
      BalanceNode heavier = to;
      lighter.used_bytes -= std::min(lighter.used_bytes, object_bytes);
      lighter.free_bytes += object_bytes;
      heavier.used_bytes += object_bytes;
      heavier.free_bytes -= object_bytes;
      if (fill(lighter) < fill(heavier)) continue;
      const double this_gain = fill(from) - fill(to);
      if (this_gain <= gain || breaks(spread, limit, from, to, keys_)) continue;
      gain = this_gain;
      best = Move{home, id};
    }
  }
  return best;
}

void Balance::made(const Move& move, std::uint64_t object_bytes) {
  if (mutant("balance-forgets-moves")) return;
  BalanceNode& from = nodes_.at(move.from.node);
  BalanceNode& to = nodes_.at(move.to);
  from.used_bytes -= std::min(from.used_bytes, object_bytes);
  from.free_bytes += object_bytes;
  to.used_bytes += object_bytes;
  to.free_bytes -= std::min(to.free_bytes, object_bytes);
}

}  // namespace atl
