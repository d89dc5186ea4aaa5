#include "cache/drive/label_survival.h"

#include <algorithm>

#include "engine/placement/placement.h"

namespace atl {
namespace {

std::string named(const std::string& key, const std::string& value) {
  return value.empty() ? "the nodes without a " + key : key + " " + value;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (std::size_t i = 0; i < parts.size(); ++i) text += (i == 0 ? "" : i + 1 == parts.size() ? " or " : ", ") + parts[i];
  return text;
}

}  // namespace

std::vector<LabelSurvival> survive_labels(const std::map<SegmentId, SegmentRow>& segments, const std::vector<NodeStatus>& nodes,
                                          const std::set<NodeId>& lost) {
  std::set<std::string> keys;
  for (const NodeStatus& node : nodes)
    for (const auto& [key, value] : node.spec.labels) keys.insert(key);
  std::vector<LabelSurvival> result;
  for (const std::string& key : by_importance({keys.begin(), keys.end()})) {
    std::map<std::string, std::size_t> numbers;
    std::map<NodeId, std::size_t> value_of;
    for (const NodeStatus& node : nodes) {
      const auto label = node.spec.labels.find(key);
      const std::string value = label == node.spec.labels.end() ? std::string() : label->second;
      value_of[node.spec.id] = numbers.try_emplace(value, numbers.size()).first->second;
    }
    std::vector<bool> needed(numbers.size());
    std::vector<std::size_t> held(numbers.size());
    for (const auto& [id, row] : segments) {
      if (row.live_extents == 0) continue;
      std::fill(held.begin(), held.end(), 0);
      std::size_t present = 0;
      for (const ShardHome& home : row.placed) {
        if (lost.contains(home.node)) continue;
        ++present;
        if (const auto value = value_of.find(home.node); value != value_of.end()) ++held[value->second];
      }
      for (std::size_t value = 0; value < held.size(); ++value) needed[value] = needed[value] || present - held[value] < std::max<std::size_t>(row.k, 1);
    }
    LabelSurvival entry;
    entry.key = key;
    for (const auto& [value, number] : numbers) (needed[number] ? entry.needed : entry.may_vanish).push_back(value);
    result.push_back(std::move(entry));
  }
  return result;
}

std::string labels_text(const std::vector<LabelSurvival>& labels) {
  std::vector<std::string> whole;  // keys of which any value may go
  std::vector<std::string> some;
  std::vector<std::string> none;
  for (const LabelSurvival& entry : labels) {
    if (entry.needed.empty()) {
      whole.push_back("any one " + entry.key);
      continue;
    }
    for (const std::string& value : entry.may_vanish) some.push_back(named(entry.key, value));
    for (const std::string& value : entry.needed) none.push_back(named(entry.key, value));
  }
  std::string text;
  if (!whole.empty()) text += "all of " + joined(whole);
  if (!some.empty()) text += (text.empty() ? "all of " : ", or ") + joined(some);
  if (!none.empty()) text += (text.empty() ? "not all of " : "; but not ") + joined(none);
  return text;
}

}  // namespace atl
