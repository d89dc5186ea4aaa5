#include "engine/transfer/single.h"

#include <algorithm>

namespace atl {

Removal::Removal(EngineParts& parts, NodeId node, std::vector<std::string> names,
                 std::function<void(Result<std::size_t>)> done)
    : RunningTransfer(parts), node_id_(node), names_(std::move(names)), done_(std::move(done)) {}

void Removal::stop() {
  if (done_) finish(fail(Code::cancelled, "the removal was given up"));
}

void Removal::start() {
  const auto node = parts_.find(node_id_);
  if (!node) {
    finish(fail(Code::invalid, "no node of this drive has the id " + node_id_.hex()));
    return;
  }
  node_ = *node;
  next_batch();
}

void Removal::next_batch() {
  if (gone_ == names_.size()) {
    finish(gone_);
    return;
  }
  if (!parts_.health.reachable(node_)) {
    const NodeStatus& status = parts_.health.status(node_);
    batch_ended(0, fail(Code::unavailable, status.spec.url + " is absent: " + status.last_error));
    return;
  }
  const std::size_t count = std::min(batch_max, names_.size() - gone_);
  const auto from = names_.begin() + static_cast<std::ptrdiff_t>(gone_);
  std::vector<std::string> batch(from, from + static_cast<std::ptrdiff_t>(count));
  const auto self = std::static_pointer_cast<Removal>(shared_from_this());
  OperationPlan<std::size_t> plan;
  plan.node = node_;
  plan.kind = CallKind::write;
  plan.timeout = parts_.options.put_timeout;
  plan.call = [batch = std::move(batch)](Node& node) { return node.remove(batch); };
  plan.done = [self, count](Result<std::size_t> gone) { self->batch_ended(count, std::move(gone)); };
  operation_ = start_operation(parts_, std::move(plan));
}

void Removal::batch_ended(std::size_t asked, Result<std::size_t> gone) {
  if (!gone) {
    // Some are gone for certain; how many is the answer, why not more is in the node's health.
    finish(gone_ > 0 ? Result<std::size_t>(gone_) : std::move(gone));
    return;
  }
  gone_ += *gone;
  parts_.counters.node_removes += *gone;
  if (*gone > 0) parts_.health.removed(node_);
  if (*gone < asked) {
    finish(gone_);
    return;
  }
  next_batch();
}

void Removal::finish(Result<std::size_t> result) {
  if (operation_) operation_->cancel();
  operation_.reset();
  const auto self = shared_from_this();
  auto done = std::move(done_);
  done_ = nullptr;
  leave();
  done(std::move(result));
}

}  // namespace atl
