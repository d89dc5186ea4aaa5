// The objects that a delegate and its owner leave for each other, on all nodes that answer. Every node holds a copy of each,
// so that one that both can reach suffices. A node that fails at something is passed over: the others have the same, and
// what it lacks is given to it the next time. Blocks for nodes; one call at a time.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <span>
#include <stop_token>
#include <vector>

#include "cache/delegate/delegate_keys.h"
#include "engine/base/runtime.h"
#include "engine/engine.h"

namespace atl {

/// An object that a node says that it holds.
struct ListedObject {
  DelegateId id;
  std::uint64_t number = 0;
  NodeId node;
  std::string name;
};

class DelegateExchange {
 public:
  /// Larger objects are not read.
  static constexpr std::uint64_t object_bytes_max = 256u << 20;

  /// `engine` and `runtime` outlive it.
  DelegateExchange(Engine& engine, Runtime& runtime, std::stop_token stop) : engine_(engine), runtime_(runtime), stop_(std::move(stop)) {}

  /// Those that can be asked now.
  std::vector<NodeId> nodes() const;
  /// What all of them hold whose name begins with `prefix` of the node. Nothing if none answered.
  std::optional<std::vector<ListedObject>> list(const std::function<std::string(const NodeId&)>& prefix);
  /// The content of an object, from the first of `holders` that gives what opens. Code::unavailable, or the last one's error.
  Result<Bytes> get(const DelegateKeys& keys, DelegateObject kind, std::uint64_t number, const std::set<NodeId>& holders);
  /// Stores the object on `nodes`. Those that have it now.
  std::set<NodeId> put(const DelegateKeys& keys, DelegateObject kind, std::uint64_t number, std::shared_ptr<const Bytes> object, std::span<const NodeId> nodes);
  /// Removes objects; what a node does not remove now is listed, and removed, again.
  void remove(const std::map<NodeId, std::vector<std::string>>& names);

 private:
  Engine& engine_;
  Runtime& runtime_;
  const std::stop_token stop_;
};

}  // namespace atl
