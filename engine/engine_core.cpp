#include "engine/engine_core.h"

#include <boost/asio/post.hpp>

#include "engine/transfer/fetch.h"
#include "engine/transfer/single.h"
#include "engine/transfer/upload.h"

namespace atl {

namespace {

constexpr Duration probe_timeout = std::chrono::seconds(10);

tl::unexpected<Error> closed() { return fail(Code::cancelled, "the engine is closed"); }

}  // namespace

std::string_view to_string(NodeState state) {
  switch (state) {
    case NodeState::ok: return "ok";
    case NodeState::slow: return "slow";
    case NodeState::absent: return "absent";
    case NodeState::full: return "full";
    case NodeState::stale: return "stale";
    case NodeState::lying: return "lying";
  }
  return "absent";
}

EngineCore::EngineCore(Loop& loop, Random& random, EngineOptions options, std::vector<NodeSpec> specs,
                       std::vector<std::shared_ptr<Node>> nodes)
    : parts_(loop, random, options, specs, std::move(nodes)), probing_(specs.size()), probed_(specs.size()) {
  parts_.gate->post([this] {
    parts_.health.on_change([this](std::size_t node) { node_changed(node); });
    probe_all();
  });
}

EngineCore::~EngineCore() { close(); }

void EngineCore::close() {
  const std::lock_guard lock(close_mutex_);
  if (shut_) return;
  shut_ = true;
  parts_.gate->shut();
  parts_.loop.run_and_wait([this] {
    closed_ = true;
    change_callback_ = nullptr;
    probed_callback_ = nullptr;
    parts_.loop.cancel(probe_timer_);
    parts_.loop.cancel(patience_timer_);
    const auto running = parts_.running;  // each leaves the set as it stops
    for (const auto& transfer : running) transfer->stop();
  });
}

bool EngineCore::begin(std::shared_ptr<RunningTransfer> transfer) {
  return parts_.gate->post([transfer = std::move(transfer)] { transfer->begin(); });
}

std::shared_ptr<Transfer> EngineCore::upload(UploadRequest request) {
  auto done = request.done;
  auto transfer = std::make_shared<Upload>(parts_, std::move(request));
  if (!begin(transfer) && done) done(closed());
  return transfer;
}

std::shared_ptr<Transfer> EngineCore::fetch(FetchRequest request) {
  auto done = request.done;
  auto transfer = std::make_shared<Fetch>(parts_, std::move(request));
  if (!begin(transfer) && done) done(closed());
  return transfer;
}

void EngineCore::put(NodeId node, std::string name, std::shared_ptr<const Bytes> body,
                     std::function<void(Result<>)> done) {
  const std::uint64_t size = body->size();
  auto call = [name = std::move(name), body = std::move(body)](Node& target) {
    std::vector<ByteView> pieces;
    pieces.emplace_back(*body);
    return target.put(name, ObjectBody(std::move(pieces), body));
  };
  auto counted = [this, node, size, done](Result<> result) {
    if (result) {
      ++parts_.counters.node_writes;
      parts_.counters.node_write_bytes += size;
      parts_.health.stored(*parts_.find(node), size);
    }
    done(std::move(result));
  };
  auto transfer = std::make_shared<SingleCall<void>>(parts_, node, CallKind::write, std::move(call), std::move(counted));
  if (!begin(std::move(transfer))) done(closed());
}

void EngineCore::remove(NodeId node, std::vector<std::string> names, std::function<void(Result<std::size_t>)> done) {
  if (!begin(std::make_shared<Removal>(parts_, node, std::move(names), done))) done(closed());
}

void EngineCore::list(NodeId node, std::string prefix, std::string after, std::size_t limit,
                      std::function<void(Result<std::vector<std::string>>)> done) {
  auto call = [prefix = std::move(prefix), after = std::move(after), limit](Node& target) {
    return target.list(prefix, after, limit);
  };
  // A listing may read a great many directories: it has a write's time and a write's place in the queue.
  using Listing = SingleCall<std::vector<std::string>>;
  auto transfer = std::make_shared<Listing>(parts_, node, CallKind::write, std::move(call), done);
  if (!begin(std::move(transfer))) done(closed());
}

void EngineCore::stat(NodeId node, std::string name, std::function<void(Result<ObjectStat>)> done) {
  auto call = [name = std::move(name)](Node& target) { return target.stat(name); };
  auto transfer = std::make_shared<SingleCall<ObjectStat>>(parts_, node, CallKind::read, std::move(call), done);
  if (!begin(std::move(transfer))) done(closed());
}

std::vector<NodeStatus> EngineCore::nodes() const { return parts_.health.snapshot(); }

EngineCounters EngineCore::counters() const { return parts_.counters.read(); }

void EngineCore::on_node_change(std::function<void()> callback) {
  parts_.gate->post([this, callback = std::move(callback)] { change_callback_ = callback; });
}

void EngineCore::node_changed(std::size_t node) {
  if (closed_) return;
  if (!parts_.health.reachable(node)) parts_.slots.reject(node);
  if (change_callback_) change_callback_();
}

void EngineCore::probe_all() {
  if (closed_) return;
  for (std::size_t node = 0; node < parts_.nodes.size(); ++node) {
    if (!probing_[node]) probe(node);
  }
  probe_timer_ = parts_.loop.after(parts_.options.probe_interval, [this] { probe_all(); });
}

void EngineCore::probe(std::size_t node) {
  probing_[node] = true;
  OperationPlan<NodeUsage> plan;
  plan.node = node;
  plan.kind = CallKind::probe;
  plan.timeout = probe_timeout;
  plan.call = [](Node& target) { return target.usage(); };
  plan.done = [this, node](Result<NodeUsage> usage) {
    if (closed_) return;
    if (usage) parts_.health.measured(node, *usage);
    probed_[node] = true;
    tell_if_probed();
  };
  plan.settled = [this, node] { probing_[node] = false; };
  start_operation(parts_, std::move(plan));
}

void EngineCore::when_probed(Duration patience, std::function<void()> ready) {
  parts_.gate->post([this, patience, ready = std::move(ready)] {
    probed_callback_ = ready;
    patience_timer_ = parts_.loop.after(patience, [this] {
      probed_.assign(probed_.size(), true);
      tell_if_probed();
    });
    tell_if_probed();
  });
}

void EngineCore::tell_if_probed() {
  if (!probed_callback_) return;
  for (const bool probed : probed_) {
    if (!probed) return;
  }
  parts_.loop.cancel(patience_timer_);
  auto ready = std::move(probed_callback_);
  probed_callback_ = nullptr;
  ready();
}

}  // namespace atl
