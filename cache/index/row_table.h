// One kind of row of the overlay: a cache over the index that also holds what the index does not have yet.
//
// Rows are immutable and shared; a change puts a new one in their place, so that a commit's snapshot costs a pointer.
// A slot is pinned while its last change has not been applied to the index; others are forgotten in two generations
// when the weight passes the limit. An absent row is remembered as well.
// Not thread-safe: guarded by the drive's state lock.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

namespace atl {

template <typename Key, typename Row>
class RowTable {
 public:
  using Shared = std::shared_ptr<const Row>;
  using Changes = std::vector<std::pair<Key, Shared>>;  // a null row: removed

  explicit RowTable(std::size_t weight_max) : weight_max_(weight_max) {}

  /// The row if it is known here: {true, row or null}; {false, null} if the index must be asked.
  std::pair<bool, Shared> find(const Key& key) {
    if (Slot* slot = slot_of(key)) return {true, slot->row};
    return {false, nullptr};
  }

  /// What the index answered for a key that is not here.
  void learn(const Key& key, Shared row) {
    make_room();
    hot_weight_ += weight(row);
    hot_.emplace(key, Slot{std::move(row), 0, false});
  }

  /// A change; null removes.
  void put(const Key& key, Shared row) {
    Slot* slot = slot_of(key);
    if (slot == nullptr) {
      make_room();
      slot = &hot_.emplace(key, Slot{}).first->second;
      hot_weight_ += weight(slot->row);
    }
    hot_weight_ += weight(row) - weight(slot->row);
    slot->row = std::move(row);
    if (!slot->changed) {
      slot->changed = true;
      ++slot->pins;
      changed_.push_back(key);
    }
  }

  /// Everything changed since the last call, each key once with its present row. Pinned until applied() has it.
  Changes take_changes() {
    Changes changes;
    changes.reserve(changed_.size());
    for (Key& key : changed_) {
      Slot& slot = *slot_of(key);
      slot.changed = false;
      changes.emplace_back(std::move(key), slot.row);
    }
    changed_.clear();
    return changes;
  }

  /// The index has these changes now. Returns whether the slot of a key is free of further changes through `done`.
  template <typename Done>
  void applied(const Changes& changes, Done done) {
    for (const auto& [key, row] : changes) {
      Slot& slot = *slot_of(key);
      if (--slot.pins == 0) done(key, slot.row);
    }
  }

  std::size_t changes_waiting() const { return changed_.size(); }

 private:
  struct Slot {
    Shared row;
    std::uint32_t pins = 0;  // snapshots not yet applied, and one for a change not yet taken
    bool changed = false;
  };
  using Map = std::unordered_map<Key, Slot>;

  static std::size_t weight(const Shared& row) { return sizeof(Key) + sizeof(Slot) + 64 + (row ? row->weight() : 0); }

  Slot* slot_of(const Key& key) {
    if (auto it = hot_.find(key); it != hot_.end()) return &it->second;
    auto it = cold_.find(key);
    if (it == cold_.end()) return nullptr;
    hot_weight_ += weight(it->second.row);
    auto node = cold_.extract(it);
    return &hot_.insert(std::move(node)).position->second;
  }

  void make_room() {
    if (hot_weight_ < weight_max_ / 2) return;
    Map old = std::move(cold_);
    cold_ = std::move(hot_);
    hot_ = Map();
    hot_weight_ = 0;
    for (auto it = old.begin(); it != old.end();) {
      const auto next = std::next(it);
      if (it->second.pins > 0) {
        hot_weight_ += weight(it->second.row);
        hot_.insert(old.extract(it));
      }
      it = next;
    }
  }

  std::size_t weight_max_;
  std::size_t hot_weight_ = 0;
  Map hot_, cold_;
  std::vector<Key> changed_;
};

}  // namespace atl
