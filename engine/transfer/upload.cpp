#include "engine/transfer/upload.h"

#include <algorithm>

namespace atl {

Upload::Upload(EngineParts& parts, UploadRequest request) : RunningTransfer(parts), request_(std::move(request)) {}

void Upload::start() {
  missing_ = request_.shards;
  for (const ShardHome& home : request_.placed) {
    if (const auto node = parts_.find(home.node)) in_use_.insert(*node);
  }
  schedule();
}

void Upload::stop() {
  if (!finished_) finish(fail(Code::cancelled, "the upload was given up"));
}

void Upload::schedule() {
  parts_.loop.cancel(timer_);
  timer_ = 0;
  if (missing_.empty()) {
    if (under_way_.empty()) finish({});
    return;
  }
  const auto homes = place_shards(missing_, candidates(), occupied(), parts_.random);
  for (const ShardHome& home : homes) {
    missing_.erase(std::find(missing_.begin(), missing_.end(), home.shard));
    put(home);
  }
  if (missing_.empty()) return;
  if (const auto chance = next_chance()) {
    const auto self = shared_from_this();
    timer_ = parts_.loop.after(std::max(*chance - parts_.loop.now(), Duration::zero()), [this, self] { schedule(); });
  } else if (under_way_.empty()) {
    finish(fail(why_stuck()));
  }
}

std::vector<PlacementNode> Upload::candidates() const {
  std::vector<PlacementNode> nodes;
  const MonotonicTime now = parts_.loop.now();
  for (std::size_t node = 0; node < parts_.nodes.size(); ++node) {
    if (!parts_.health.placeable(node) || in_use_.contains(node)) continue;
    const auto trouble = trouble_.find(node);
    if (trouble != trouble_.end() && (trouble->second.given_up || trouble->second.not_before > now)) continue;
    const NodeStatus& status = parts_.health.status(node);
    nodes.push_back(PlacementNode{status.spec.id, &status.spec.labels, status.free_bytes});
  }
  return nodes;
}

std::vector<PlacementNode> Upload::occupied() const {
  std::vector<PlacementNode> nodes;
  for (const std::size_t node : in_use_) {
    const NodeStatus& status = parts_.health.status(node);
    nodes.push_back(PlacementNode{status.spec.id, &status.spec.labels, 0});
  }
  return nodes;
}

std::optional<MonotonicTime> Upload::next_chance() const {
  std::optional<MonotonicTime> earliest;
  for (const auto& [node, trouble] : trouble_) {
    if (trouble.given_up || in_use_.contains(node) || !parts_.health.placeable(node)) continue;
    if (!earliest || trouble.not_before < *earliest) earliest = trouble.not_before;
  }
  return earliest;
}

void Upload::put(ShardHome home) {
  const std::size_t node = *parts_.find(home.node);
  in_use_.insert(node);
  const auto self = std::static_pointer_cast<Upload>(shared_from_this());
  const auto bytes = std::make_shared<std::uint64_t>(0);
  OperationPlan<void> plan;
  plan.node = node;
  plan.kind = CallKind::write;
  plan.timeout = parts_.options.put_timeout;
  plan.call = [self, home, bytes](Node& target) {
    ObjectBody body(self->request_.body(home.shard), self->request_.keep_alive);
    *bytes = body.size();
    return target.put(self->request_.object_name(home.shard, home.node), std::move(body));
  };
  plan.done = [self, home, bytes](Result<> result) { self->put_ended(home, *bytes, std::move(result)); };
  under_way_[home] = start_operation(parts_, std::move(plan));
}

void Upload::put_ended(ShardHome home, std::uint64_t bytes, Result<> result) {
  const auto self = shared_from_this();
  under_way_.erase(home);
  const std::size_t node = *parts_.find(home.node);
  if (result) {
    ++parts_.counters.node_writes;
    parts_.counters.node_write_bytes += bytes;
    parts_.health.stored(node, bytes);
    if (request_.on_stored) request_.on_stored(home);
  } else {
    in_use_.erase(node);
    missing_.push_back(home.shard);
    note_trouble(node, result.error());
  }
  schedule();
}

void Upload::note_trouble(std::size_t node, const Error& error) {
  Trouble& trouble = trouble_[node];
  ++trouble.failures;
  out_of_space_ = out_of_space_ || error.code == Code::no_space;
  last_error_ = error;
  const bool final = error.code == Code::unavailable || error.code == Code::no_space || error.code == Code::conflict ||
                     error.code == Code::invalid;
  if (final || trouble.failures >= attempts_per_node_max) {
    trouble.given_up = true;
    return;
  }
  // Between half and all of a pause that doubles: uploads that failed together must not return together.
  const auto pause = first_pause.count() << (trouble.failures - 1);
  const auto jitter = static_cast<Duration::rep>(parts_.random.u64() % static_cast<std::uint64_t>(pause / 2 + 1));
  trouble.not_before = parts_.loop.now() + Duration(pause - jitter);
}

Error Upload::why_stuck() const {
  bool full = out_of_space_;
  for (std::size_t node = 0; node < parts_.nodes.size(); ++node)
    full = full || (parts_.health.state(node) == NodeState::full && !in_use_.contains(node));
  std::string what = std::to_string(missing_.size()) + " of " + std::to_string(request_.shards.size()) +
                     " shards could not be stored: ";
  what += last_error_ ? last_error_->what : "no further node can take one now";
  return Error(full ? Code::no_space : Code::unavailable, std::move(what),
               full ? "free space on the nodes, or add one" : "bring nodes back, or add one");
}

void Upload::finish(Result<> result) {
  finished_ = true;
  parts_.loop.cancel(timer_);
  for (auto& [home, operation] : under_way_) operation->cancel();
  under_way_.clear();
  auto done = std::move(request_.done);
  const auto self = shared_from_this();
  leave();
  if (done) done(std::move(result));
  request_ = {};  // what it kept alive goes now, not with the handle
}

}  // namespace atl
