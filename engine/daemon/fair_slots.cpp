#include "engine/daemon/fair_slots.h"

#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>

namespace atl {

asio::awaitable<FairSlots::Slot> FairSlots::acquire(KeyId tenant) {
  if (!take(tenant)) {
    auto initiate = [this, &tenant](auto handler) {
      auto shared = std::make_shared<decltype(handler)>(std::move(handler));
      wait(tenant, [shared] { std::move (*shared)(); });
    };
    auto token = asio::use_awaitable;
    co_await asio::async_initiate<decltype(token), void()>(std::move(initiate), token);
  }
  co_return Slot(*this, tenant);
}

bool FairSlots::take(const KeyId& tenant) {
  if (taken_ >= total_) return false;
  Tenant& its = tenants_[tenant];
  // Whoever waits already goes first; others wait only for their own tenant's places then.
  if (its.taken >= per_tenant_ || !its.waiting.empty()) return false;
  ++its.taken;
  ++taken_;
  return true;
}

void FairSlots::wait(const KeyId& tenant, std::function<void()> granted) {
  Tenant& its = tenants_[tenant];
  its.waiting.push_back(std::move(granted));
  ++waiting_;
  if (its.in_turn) return;
  its.in_turn = true;
  turns_.push_back(tenant);
}

void FairSlots::release(const KeyId& tenant) {
  const auto found = tenants_.find(tenant);
  --found->second.taken;
  --taken_;
  if (found->second.taken == 0 && found->second.waiting.empty()) tenants_.erase(found);
  grant();
}

void FairSlots::grant() {
  for (auto turn = turns_.begin(); turn != turns_.end() && taken_ < total_;) {
    Tenant& its = tenants_[*turn];
    if (its.taken >= per_tenant_) {
      ++turn;
      continue;
    }
    ++its.taken;
    ++taken_;
    --waiting_;
    asio::post(executor_, std::move(its.waiting.front()));
    its.waiting.pop_front();
    const auto served = turn++;
    if (its.waiting.empty()) {
      its.in_turn = false;
      turns_.erase(served);
    } else {
      turns_.splice(turns_.end(), turns_, served);  // behind all others; still before end(), so it may be seen again
      if (turn == turns_.end()) turn = served;
    }
  }
}

}  // namespace atl
