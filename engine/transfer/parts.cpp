#include "engine/transfer/parts.h"

#include <boost/asio/post.hpp>

namespace atl {

bool LoopGate::post(std::function<void()> task) {
  const std::lock_guard lock(mutex_);
  if (shut_) return false;
  asio::post(executor_, std::move(task));
  return true;
}

void LoopGate::shut() {
  const std::lock_guard lock(mutex_);
  shut_ = true;
}

EngineParts::EngineParts(Loop& loop_, Random& random_, EngineOptions options_, const std::vector<NodeSpec>& specs,
                         std::vector<std::shared_ptr<Node>> nodes_)
    : loop(loop_),
      random(random_),
      options(options_),
      health(loop_, specs),
      slots(loop_, specs.size(), options_.transfers_max, options_.transfers_per_node_max),
      upload(std::make_shared<Pacer>(loop_)),
      download(std::make_shared<Pacer>(loop_)),
      nodes(std::move(nodes_)),
      operations(specs.size()),
      gate(std::make_shared<LoopGate>(loop_.executor())) {
  for (std::size_t i = 0; i < specs.size(); ++i) index.emplace(specs[i].id, i);
  for (std::size_t i = 0; i < nodes.size(); ++i) health.likes(i, nodes[i]->ship_interval());
}

std::size_t EngineParts::add_node(const NodeSpec& spec, std::shared_ptr<Node> node) {
  const std::size_t added = health.add(spec);
  health.likes(added, node->ship_interval());
  slots.add_node();
  nodes.push_back(std::move(node));
  operations.emplace_back();
  index[spec.id] = added;
  return added;
}

void EngineParts::retire_node(std::size_t node) {
  const NodeId id = health.status(node).spec.id;
  if (const auto found = find(id); found == node) index.erase(id);
  health.retire(node);
  const auto calls = operations[node];  // each leaves the set as it ends
  for (const auto& call : calls) call->expel();
}

void RunningTransfer::cancel() {
  gate_->post([self = shared_from_this()] { self->stop(); });
}

void RunningTransfer::begin() {
  parts_.running.insert(shared_from_this());
  start();
}

}  // namespace atl
