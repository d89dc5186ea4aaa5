#include "engine/engine_core.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <map>
#include <set>

#include "engine/transfer/fetch.h"
#include "engine/transfer/single.h"
#include "engine/transfer/upload.h"

namespace atl {

namespace {

constexpr Duration probe_timeout = std::chrono::seconds(10);
/// A node that is busy all the time needs no probe, but others may fill it up: it is asked for its room this many times
/// more seldom than a silent one whether it is there.
constexpr int measured_per_silence = 12;

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
                       std::vector<std::shared_ptr<Node>> nodes, NodeMaker make_node)
    : parts_(loop, random, options, specs, std::move(nodes)),
      make_node_(std::move(make_node)),
      probing_(specs.size()),
      probed_(specs.size()) {
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
    checks_.clear();
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
      if (const auto index = parts_.find(node)) parts_.health.stored(*index, size);
    }
    done(std::move(result));
  };
  auto transfer = std::make_shared<SingleCall<void>>(parts_, node, CallKind::write, std::move(call), std::move(counted), size);
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

Result<> EngineCore::set_nodes(std::vector<NodeSpec> nodes) {
  const std::lock_guard lock(close_mutex_);
  if (shut_) return closed();
  std::map<NodeId, NodeSpec> present;
  for (const NodeStatus& status : parts_.health.snapshot()) present.emplace(status.spec.id, status.spec);
  std::set<NodeId> named;
  std::vector<std::shared_ptr<Node>> fresh(nodes.size());
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (!named.insert(nodes[i].id).second) return fail(Code::invalid, nodes[i].url + " is named twice");
    const auto known = present.find(nodes[i].id);
    if (known != present.end() && known->second.url == nodes[i].url) continue;
    if (!make_node_) return fail(Code::unsupported, "this engine takes no new nodes");
    auto made = make_node_(nodes[i]);
    if (!made) return fail(made.error());
    fresh[i] = std::move(*made);
  }
  parts_.loop.run_and_wait([&] {
    std::vector<std::size_t> gone;
    for (const auto& [id, node] : parts_.index) {
      if (!named.contains(id)) gone.push_back(node);
    }
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const auto known = parts_.find(nodes[i].id);
      if (known && fresh[i]) gone.push_back(*known);
    }
    // New ones first: what has to leave a node finds them.
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if (fresh[i]) {
        add_node(nodes[i], std::move(fresh[i]));
      } else {
        parts_.health.respecify(*parts_.find(nodes[i].id), nodes[i]);
      }
    }
    for (const std::size_t node : gone) retire_node(node);
    if (change_callback_) change_callback_();
  });
  return {};
}

void EngineCore::add_node(const NodeSpec& spec, std::shared_ptr<Node> node) {
  const std::size_t added = parts_.add_node(spec, std::move(node));
  probing_.push_back(false);
  probed_.push_back(true);  // nobody waits for this one's first answer
  probe(added);
}

void EngineCore::retire_node(std::size_t node) {
  parts_.retire_node(node);
  tell_if_probed();
  tell_checks(node);
}

std::vector<NodeStatus> EngineCore::nodes() const { return parts_.health.snapshot(); }

EngineCounters EngineCore::counters() const { return parts_.counters.read(); }

void EngineCore::set_flow(const Flow& flow) {
  Flow wanted = flow;
  for (std::uint64_t* limit : {&wanted.upload_limit, &wanted.download_limit})
    if (*limit != 0) *limit = std::max(*limit, Flow::limit_min);
  const std::lock_guard lock(flow_mutex_);  // held while posting: the last one wins on the loop, too
  flow_ = wanted;
  parts_.gate->post([this, wanted] {
    parts_.upload->set_limit(wanted.upload_limit);
    parts_.download->set_limit(wanted.download_limit);
    parts_.slots.pause_writes(wanted.paused);
    if (change_callback_) change_callback_();
  });
}

Flow EngineCore::flow() const {
  const std::lock_guard lock(flow_mutex_);
  return flow_;
}

std::map<NodeId, Duration> EngineCore::ship_intervals() const { return parts_.health.ship_intervals(); }

std::map<NodeId, NodeStatistics> EngineCore::statistics() const { return parts_.health.statistics(); }

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
    if (wants_probe(node, parts_.nodes[node]->silence_max())) probe(node);
  }
  probe_timer_ = parts_.loop.after(parts_.options.probe_interval, [this] { probe_all(); });
}

bool EngineCore::wants_probe(std::size_t node, Duration silence_max) const {
  if (probing_[node] || parts_.health.retired(node)) return false;
  // Only an answer shows that an absent node is back, and a full or lying one may be used again.
  const NodeState state = parts_.health.state(node);
  if (state != NodeState::ok && state != NodeState::slow) return true;
  // A call under way may take minutes: whether it is worth waiting for, a node that has frozen does not say.
  const Duration patience = parts_.slots.running(node) > 0 ? std::min(silence_max, parts_.options.probe_interval) : silence_max;
  return !parts_.health.heard_within(node, patience) || !parts_.health.measured_within(node, measured_per_silence * silence_max);
}

void EngineCore::check_nodes(std::function<void()> asked) {
  parts_.gate->post([this, asked = std::move(asked)] {
    if (closed_) return;
    Check check;
    check.asked = asked;
    for (std::size_t node = 0; node < parts_.nodes.size(); ++node) {
      if (!parts_.health.reachable(node) || parts_.health.heard_within(node, parts_.options.probe_interval)) continue;
      if (wants_probe(node, parts_.options.probe_interval)) probe(node);
      if (probing_[node]) check.nodes.insert(node);
    }
    if (check.nodes.empty()) return check.asked();
    checks_.push_back(std::move(check));
  });
}

void EngineCore::tell_checks(std::size_t node) {
  for (auto check = checks_.begin(); check != checks_.end();) {
    check->nodes.erase(node);
    if (!check->nodes.empty()) {
      ++check;
      continue;
    }
    const auto asked = std::move(check->asked);
    check = checks_.erase(check);
    asked();
  }
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
    tell_checks(node);
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
  for (std::size_t node = 0; node < probed_.size(); ++node) {
    if (!probed_[node] && !parts_.health.retired(node)) return;
  }
  parts_.loop.cancel(patience_timer_);
  auto ready = std::move(probed_callback_);
  probed_callback_ = nullptr;
  ready();
}

}  // namespace atl
