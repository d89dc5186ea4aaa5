#include "engine/transfer/slots.h"

#include <algorithm>
#include <boost/asio/post.hpp>

namespace atl {

namespace {

/// What writes may take of a limit: three quarters, and always something.
std::size_t write_share(std::size_t limit) { return std::max<std::size_t>(1, limit * 3 / 4); }

}  // namespace

Slots::Slots(Loop& loop, std::size_t nodes, std::size_t total_max, std::size_t per_node_max)
    : loop_(loop),
      total_max_(std::max<std::size_t>(total_max, 1)),
      per_node_max_(std::max<std::size_t>(per_node_max, 1)),
      nodes_(nodes) {}

bool Slots::has_room(std::size_t node, CallKind kind) const {
  if (total_.running >= total_max_ || nodes_[node].running >= per_node_max_) return false;
  if (kind == CallKind::read) return true;
  return !paused_ && total_.writes < write_share(total_max_) && nodes_[node].writes < write_share(per_node_max_);
}

void Slots::pause_writes(bool paused) {
  paused_ = paused;
  grant_waiting();
}

Slots::Ticket Slots::acquire(std::size_t node, CallKind kind, std::function<void(bool)> answered) {
  const Ticket ticket = ++last_ticket_;
  if (kind == CallKind::probe) {
    asio::post(loop_.executor(), [answered = std::move(answered)] { answered(true); });
    return ticket;
  }
  ++nodes_[node].load;
  Waiter waiter{ticket, node, kind, std::move(answered)};
  if (has_room(node, kind)) {
    grant(std::move(waiter));
  } else {
    (kind == CallKind::read ? reads_ : writes_).push_back(std::move(waiter));
  }
  return ticket;
}

void Slots::grant(Waiter waiter) {
  const std::size_t writes = waiter.kind == CallKind::write ? 1 : 0;
  Count& node = nodes_[waiter.node];
  ++total_.running;
  ++node.running;
  total_.writes += writes;
  node.writes += writes;
  asio::post(loop_.executor(), [answered = std::move(waiter.answered)] { answered(true); });
}

void Slots::reject(std::size_t node) {
  for (auto* queue : {&reads_, &writes_}) {
    for (auto waiter = queue->begin(); waiter != queue->end();) {
      if (waiter->node != node) {
        ++waiter;
        continue;
      }
      --nodes_[node].load;
      asio::post(loop_.executor(), [answered = std::move(waiter->answered)] { answered(false); });
      waiter = queue->erase(waiter);
    }
  }
}

bool Slots::withdraw(Ticket ticket) {
  for (auto* queue : {&reads_, &writes_}) {
    const auto found =
        std::find_if(queue->begin(), queue->end(), [&](const Waiter& waiter) { return waiter.ticket == ticket; });
    if (found == queue->end()) continue;
    --nodes_[found->node].load;
    queue->erase(found);
    return true;
  }
  return false;
}

void Slots::abandon(CallKind kind) {
  if (kind == CallKind::probe) return;
  --total_.running;
  if (kind == CallKind::write) --total_.writes;
  grant_waiting();
}

void Slots::finish(std::size_t node, CallKind kind, bool abandoned) {
  if (kind == CallKind::probe) return;
  const std::size_t writes = kind == CallKind::write ? 1 : 0;
  --nodes_[node].load;
  --nodes_[node].running;
  nodes_[node].writes -= writes;
  if (!abandoned) {
    --total_.running;
    total_.writes -= writes;
  }
  grant_waiting();
}

void Slots::grant_waiting() {
  for (auto* queue : {&reads_, &writes_}) {
    for (auto waiter = queue->begin(); waiter != queue->end() && total_.running < total_max_;) {
      if (!has_room(waiter->node, waiter->kind)) {
        ++waiter;
        continue;
      }
      Waiter granted = std::move(*waiter);
      waiter = queue->erase(waiter);
      grant(std::move(granted));
    }
  }
}

}  // namespace atl
