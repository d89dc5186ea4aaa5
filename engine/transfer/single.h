// Calls of one node by name: put, list, stat, and removal of many names in batches.
// On the loop's thread only; cancel() from any.
#pragma once

#include "engine/transfer/operation.h"
#include "engine/transfer/parts.h"

namespace atl {

/// One call. A node that is absent is not asked: Code::unavailable at once.
template <typename T>
class SingleCall final : public RunningTransfer {
 public:
  using Call = std::function<asio::awaitable<Result<T>>(Node&)>;

  /// `bytes`: what is sent.
  SingleCall(EngineParts& parts, NodeId node, CallKind kind, Call call, std::function<void(Result<T>)> done, std::uint64_t bytes = 0)
      : RunningTransfer(parts), node_(node), kind_(kind), call_(std::move(call)), done_(std::move(done)), bytes_(bytes) {}

  void stop() override {
    if (done_) finish(fail(Code::cancelled, "the call was given up"));
  }

 private:
  void start() override {
    const auto node = parts_.find(node_);
    if (!node) {
      finish(fail(Code::invalid, "no node of this drive has the id " + node_.hex()));
      return;
    }
    if (!parts_.health.reachable(*node)) {
      const NodeStatus& status = parts_.health.status(*node);
      finish(fail(Code::unavailable, status.spec.url + " is absent: " + status.last_error));
      return;
    }
    const auto self = std::static_pointer_cast<SingleCall>(shared_from_this());
    OperationPlan<T> plan;
    plan.node = *node;
    plan.kind = kind_;
    plan.timeout = kind_ == CallKind::read ? parts_.options.get_timeout : parts_.options.put_timeout;
    plan.bytes = bytes_;
    plan.call = std::move(call_);
    plan.done = [self](Result<T> result) { self->finish(std::move(result)); };
    operation_ = start_operation(parts_, std::move(plan));
  }

  void finish(Result<T> result) {
    if (operation_) operation_->cancel();
    operation_.reset();
    const auto self = shared_from_this();
    auto done = std::move(done_);
    done_ = nullptr;
    leave();
    done(std::move(result));
  }

  const NodeId node_;
  const CallKind kind_;
  Call call_;
  std::function<void(Result<T>)> done_;
  const std::uint64_t bytes_;
  std::shared_ptr<Operation> operation_;
};

/// Removes names in batches, so that no single call runs long.
class Removal final : public RunningTransfer {
 public:
  static constexpr std::size_t batch_max = 256;

  Removal(EngineParts& parts, NodeId node, std::vector<std::string> names, std::function<void(Result<std::size_t>)> done);
  void stop() override;

 private:
  void start() override;
  void next_batch();
  void batch_ended(std::size_t asked, Result<std::size_t> gone);
  void finish(Result<std::size_t> result);

  const NodeId node_id_;
  std::size_t node_ = 0;
  std::vector<std::string> names_;
  std::size_t gone_ = 0;
  std::function<void(Result<std::size_t>)> done_;
  std::shared_ptr<Operation> operation_;
};

}  // namespace atl
