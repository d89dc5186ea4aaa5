#include "engine/transfer/upload.h"

#include <algorithm>

#include "engine/base/mutant.h"

namespace atl {

Upload::Upload(EngineParts& parts, UploadRequest request) : RunningTransfer(parts), request_(std::move(request)) {}

void Upload::start() {
  missing_ = request_.shards;
  for (const ShardHome& home : request_.placed)
    if (!mutant("upload-forgets-homes")) in_use_.insert(home.node);
  schedule();
}

void Upload::stop() {
  if (!finished_) finish(fail(Code::cancelled, "the upload was given up"));
}

void Upload::schedule() {
  parts_.loop.cancel(timer_);
  timer_ = 0;
  if (missing_.empty() && under_way_.empty()) {
    finish({});
    return;
  }
  const auto homes = place_shards(missing_, candidates(), occupied(), parts_.random, request_.need);
  for (const ShardHome& home : homes) {
    missing_.erase(std::find(missing_.begin(), missing_.end(), home.shard));
    put(home);
  }
  auto next = hedge_late();
  if (!missing_.empty()) {
    if (const auto chance = next_chance()) next = next ? std::min(*next, *chance) : *chance;
  }
  if (next) {
    const auto self = shared_from_this();
    timer_ = parts_.loop.after(std::max(*next - parts_.loop.now(), Duration::zero()), [this, self] { schedule(); });
  } else if (under_way_.empty()) {
    finish(fail(why_stuck()));
  }
}

const NodeId& Upload::id_of(std::size_t node) const { return parts_.health.status(node).spec.id; }

std::vector<PlacementNode> Upload::candidates() const {
  std::vector<PlacementNode> nodes;
  const MonotonicTime now = parts_.loop.now();
  for (std::size_t node = 0; node < parts_.nodes.size(); ++node) {
    if (!parts_.health.placeable(node) || in_use_.contains(id_of(node))) continue;
    const auto trouble = trouble_.find(node);
    if (trouble != trouble_.end() && (trouble->second.given_up || trouble->second.not_before > now)) continue;
    const NodeStatus& status = parts_.health.status(node);
    // A tardy node counts as one without room to spare, which matters less than labels do.
    nodes.push_back(PlacementNode{status.spec.id, &status.spec.labels, parts_.health.tardy(node) ? 0 : status.free_bytes});
  }
  return nodes;
}

bool Upload::under_way(ShardIndex shard) const {
  return std::any_of(under_way_.begin(), under_way_.end(), [shard](const auto& put) { return put.first.shard == shard; });
}

std::optional<Duration> Upload::put_patience() const {
  if (took_.size() * 2 < request_.shards.size()) return std::nullopt;
  auto sorted = took_;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return std::max(late_after_min, *middle * late_factor);
}

std::optional<MonotonicTime> Upload::hedge_late() {
  const auto patience = put_patience();
  if (!patience || parts_.slots.paused()) return std::nullopt;
  const MonotonicTime now = parts_.loop.now();
  std::optional<MonotonicTime> next;
  std::vector<ShardIndex> late;
  for (auto& [home, put] : under_way_) {
    if (put.hedged) continue;
    if (const MonotonicTime due = put.asked_at + *patience; due > now) {
      next = next ? std::min(*next, due) : due;
      continue;
    }
    const auto node = parts_.find(home.node);
    if (put.started && node) parts_.health.was_late(*node);
    put.hedged = true;
    const auto in_time = [&](const auto& other) { return other.first.shard == home.shard && !other.second.hedged; };
    if (std::none_of(under_way_.begin(), under_way_.end(), in_time)) late.push_back(home.shard);
  }
  std::sort(late.begin(), late.end());
  late.erase(std::unique(late.begin(), late.end()), late.end());
  if (late.empty()) return next;
  for (const ShardHome& home : place_shards(late, candidates(), occupied(), parts_.random, request_.need)) {
    put(home);
    const MonotonicTime due = now + *patience;
    next = next ? std::min(*next, due) : due;
  }
  return next;
}

void Upload::give_up_others(ShardIndex shard) {
  for (auto put = under_way_.begin(); put != under_way_.end();) {
    if (put->first.shard != shard) {
      ++put;
      continue;
    }
    put->second.operation->cancel();
    const NodeId id = put->first.node;
    put = under_way_.erase(put);
    in_use_.erase(id);
    // It may hold a second copy now, which goes with the attempt. Another shard of it has no business beside that.
    if (const auto node = parts_.find(id)) trouble_[*node].given_up = true;
  }
}

std::vector<PlacementNode> Upload::occupied() const {
  std::vector<PlacementNode> nodes;
  for (const NodeId& id : in_use_) {
    const auto node = parts_.find(id);
    if (!node) continue;  // left the drive: what lies there makes nothing safer
    const NodeStatus& status = parts_.health.status(*node);
    nodes.push_back(PlacementNode{status.spec.id, &status.spec.labels, 0});
  }
  return nodes;
}

std::optional<MonotonicTime> Upload::next_chance() const {
  std::optional<MonotonicTime> earliest;
  for (const auto& [node, trouble] : trouble_) {
    if (trouble.given_up || in_use_.contains(id_of(node)) || !parts_.health.placeable(node)) continue;
    if (!earliest || trouble.not_before < *earliest) earliest = trouble.not_before;
  }
  return earliest;
}

void Upload::put(ShardHome home) {
  const std::size_t node = *parts_.find(home.node);
  in_use_.insert(home.node);
  under_way_[home].asked_at = parts_.loop.now();
  const auto self = std::static_pointer_cast<Upload>(shared_from_this());
  ObjectBody body = request_.body(home.shard);
  const std::uint64_t bytes = body.size();
  OperationPlan<void> plan;
  plan.node = node;
  plan.kind = CallKind::write;
  plan.timeout = parts_.options.put_timeout;
  plan.bytes = bytes;
  plan.call = [self, home, body = std::move(body)](Node& target) {
    if (const auto put = self->under_way_.find(home); put != self->under_way_.end()) put->second.started = true;
    return target.put(self->request_.object_name(home.shard, home.node), body);
  };
  plan.done = [self, home, node, bytes](Result<> result) { self->put_ended(home, node, bytes, std::move(result)); };
  under_way_[home].operation = start_operation(parts_, std::move(plan));
}

void Upload::put_ended(ShardHome home, std::size_t node, std::uint64_t bytes, Result<> result) {
  const auto self = shared_from_this();
  const Put put = under_way_.at(home);
  under_way_.erase(home);
  if (result) {
    took_.push_back(parts_.loop.now() - put.asked_at);
    if (!mutant("late-put-goes-on")) give_up_others(home.shard);
    ++parts_.counters.node_writes;
    parts_.counters.node_write_bytes += bytes;
    parts_.health.stored(node, bytes);
    if (request_.on_stored) request_.on_stored(home);
  } else {
    if (mutant("refused-put-counted") && request_.on_stored) request_.on_stored(home);
    in_use_.erase(home.node);
    if (!under_way(home.shard)) missing_.push_back(home.shard);
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
    full = full || (parts_.health.state(node) == NodeState::full && !in_use_.contains(id_of(node)));
  std::string what = std::to_string(missing_.size()) + " of " + std::to_string(request_.shards.size()) +
                     " shards could not be stored: ";
  what += last_error_ ? last_error_->what : "no further node can take one now";
  return Error(full ? Code::no_space : Code::unavailable, std::move(what),
               full ? "free space on the nodes, or add one" : "bring nodes back, or add one");
}

void Upload::finish(Result<> result) {
  finished_ = true;
  parts_.loop.cancel(timer_);
  for (const auto& [home, put] : under_way_) put.operation->cancel();
  under_way_.clear();
  auto done = std::move(request_.done);
  const auto self = shared_from_this();
  leave();
  if (done) done(std::move(result));
  request_ = {};  // what it kept alive goes now, not with the handle
}

}  // namespace atl
