#include "engine/health/health.h"

#include <algorithm>

namespace atl {

void LatencyWindow::add(Duration latency) { recent_[count_++ % window] = latency; }

Duration LatencyWindow::percentile(unsigned percent) const {
  const std::size_t known = std::min(count_, window);
  if (known < 4) return Duration::zero();
  auto sorted = recent_;
  const std::size_t rank = std::min(known - 1, known * percent / 100);
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(rank),
                   sorted.begin() + static_cast<std::ptrdiff_t>(known));
  return sorted[rank];
}

HealthTable::HealthTable(Loop& loop, const std::vector<NodeSpec>& specs) : loop_(loop) {
  for (const NodeSpec& spec : specs) add(spec);
}

std::size_t HealthTable::add(const NodeSpec& spec) {
  marks_.emplace_back();
  NodeStatus status;
  status.spec = spec;
  const std::lock_guard lock(mutex_);
  statuses_.push_back(std::move(status));
  statistics_.emplace_back();
  ship_intervals_.emplace_back();
  return statuses_.size() - 1;
}

void HealthTable::likes(std::size_t node, Duration ship_interval) {
  const std::lock_guard lock(mutex_);
  ship_intervals_[node] = ship_interval;
}

void HealthTable::retire(std::size_t node) {
  {
    const std::lock_guard lock(mutex_);
    marks_[node].retired = true;
  }
  update(node, {});
}

void HealthTable::respecify(std::size_t node, const NodeSpec& spec) {
  update(node, [&](NodeStatus& status) { status.spec = spec; });
}

NodeState HealthTable::derive(const Marks& marks) const {
  if (!marks.reachable || marks.retired) return NodeState::absent;
  if (marks.lying_since) return NodeState::lying;
  if (marks.full_since) return NodeState::full;
  if (marks.reads.percentile(90) > slow_after) return NodeState::slow;
  return NodeState::ok;
}

void HealthTable::update(std::size_t node, const std::function<void(NodeStatus&)>& edit) {
  const NodeState state = derive(marks_[node]);
  bool changed = false;
  {
    const std::lock_guard lock(mutex_);
    NodeStatus& status = statuses_[node];
    changed = status.state != state;
    status.state = state;
    if (edit) edit(status);
    if (changed && state == NodeState::ok) status.last_error.clear();
  }
  if (changed && changed_) changed_(node);
}

void HealthTable::count(std::size_t node, const std::function<void(NodeStatistics&)>& edit) {
  const std::lock_guard lock(mutex_);
  edit(statistics_[node]);
}

void HealthTable::answered(std::size_t node) {
  Marks& marks = marks_[node];
  marks.reachable = true;
  marks.failures = 0;
  marks.heard_at = loop_.now();
  count(node, [](NodeStatistics& its) { ++its.answered; });
  update(node, {});
}

namespace {

std::optional<Duration> known(Duration latency) { return latency == Duration::zero() ? std::nullopt : std::optional(latency); }

}  // namespace

void HealthTable::read_took(std::size_t node, Duration latency) {
  LatencyWindow& reads = marks_[node].reads;
  reads.add(latency);
  count(node, [&](NodeStatistics& its) {
    its.read_median = known(reads.percentile(50));
    its.read_p95 = known(reads.percentile(95));
  });
  update(node, {});
}

void HealthTable::write_took(std::size_t node, Duration latency) {
  LatencyWindow& writes = marks_[node].writes;
  writes.add(latency);
  count(node, [&](NodeStatistics& its) {
    its.write_median = known(writes.percentile(50));
    its.write_p95 = known(writes.percentile(95));
  });
}

void HealthTable::was_late(std::size_t node) {
  marks_[node].late_at = loop_.now();
  count(node, [](NodeStatistics& its) { ++its.late_puts; });
}

void HealthTable::failed(std::size_t node, const Error& error) {
  Marks& marks = marks_[node];
  switch (error.code) {
    case Code::not_found:
    case Code::conflict:
    case Code::invalid: answered(node); return;  // the node is well
    case Code::cancelled: return;
    case Code::no_space:
      marks.reachable = true;
      marks.full_since = marks.heard_at = loop_.now();
      marks.free_when_full = statuses_[node].free_bytes;
      break;
    case Code::unavailable:
    case Code::timed_out: marks.reachable = false; break;
    default:
      if (++marks.failures >= failures_max) marks.reachable = false;
  }
  count(node, [&](NodeStatistics& its) { ++(error.code == Code::timed_out ? its.timed_out : its.failed); });
  update(node, [&](NodeStatus& status) { status.last_error = error.what; });
}

void HealthTable::verified(std::size_t node) {
  Marks& marks = marks_[node];
  if (!marks.lying_since || ++marks.verified < verified_to_trust) return;
  marks.lying_since.reset();
  update(node, {});
}

void HealthTable::answered_badly(std::size_t node, std::string what) {
  Marks& marks = marks_[node];
  marks.lying_since = loop_.now();
  marks.verified = 0;
  count(node, [](NodeStatistics& its) { ++its.bad_answers; });
  update(node, [&](NodeStatus& status) { status.last_error = std::move(what); });
}

void HealthTable::stored(std::size_t node, std::uint64_t bytes) {
  update(node, [&](NodeStatus& status) {
    status.used_bytes += bytes;
    status.free_bytes -= std::min(status.free_bytes, bytes);
  });
}

void HealthTable::removed(std::size_t node) {
  marks_[node].full_since.reset();
  update(node, {});
}

void HealthTable::measured(std::size_t node, const NodeUsage& usage) {
  Marks& marks = marks_[node];
  const MonotonicTime now = loop_.now();
  if (marks.full_since && (usage.free_bytes > marks.free_when_full || now - *marks.full_since >= full_for_max))
    marks.full_since.reset();
  marks.measured_at = now;
  if (marks.lying_since && now - *marks.lying_since >= lying_for_max) marks.lying_since.reset();
  update(node, [&](NodeStatus& status) {
    status.used_bytes = usage.used_bytes;
    status.free_bytes = usage.free_bytes;
    status.capacity_bytes = usage.capacity_bytes;
    status.device = usage.device;
  });
}

std::vector<NodeStatus> HealthTable::snapshot() const {
  std::vector<NodeStatus> shown;
  const std::lock_guard lock(mutex_);
  for (std::size_t node = 0; node < statuses_.size(); ++node) {
    if (!marks_[node].retired) shown.push_back(statuses_[node]);
  }
  return shown;
}

std::map<NodeId, Duration> HealthTable::ship_intervals() const {
  const std::lock_guard lock(mutex_);
  std::map<NodeId, Duration> intervals;
  for (std::size_t i = 0; i < statuses_.size(); ++i)
    if (!marks_[i].retired && ship_intervals_[i] != Duration::zero()) intervals[statuses_[i].spec.id] = ship_intervals_[i];
  return intervals;
}

std::map<NodeId, NodeStatistics> HealthTable::statistics() const {
  std::map<NodeId, NodeStatistics> shown;
  const std::lock_guard lock(mutex_);
  for (std::size_t node = 0; node < statuses_.size(); ++node) {
    if (!marks_[node].retired) shown.emplace(statuses_[node].spec.id, statistics_[node]);
  }
  return shown;
}

}  // namespace atl
