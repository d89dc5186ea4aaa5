#include "engine/transfer/parts.h"

#include <boost/asio/post.hpp>

namespace atl {

bool Gate::post(std::function<void()> task) {
  const std::lock_guard lock(mutex_);
  if (shut_) return false;
  asio::post(executor_, std::move(task));
  return true;
}

void Gate::shut() {
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
      nodes(std::move(nodes_)),
      gate(std::make_shared<Gate>(loop_.executor())) {
  for (std::size_t i = 0; i < specs.size(); ++i) index.emplace(specs[i].id, i);
}

void RunningTransfer::cancel() {
  gate_->post([self = shared_from_this()] { self->stop(); });
}

void RunningTransfer::begin() {
  parts_.running.insert(shared_from_this());
  start();
}

}  // namespace atl
