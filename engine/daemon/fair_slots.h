// A bounded number of places that tenants share: whoever waits gets one in turn, tenant by tenant, and no tenant has
// more than its part. A flood of one tenant's waits behind itself.
//
// On the loop's thread only. What waits is bounded by its callers. Outlives its slots and whoever waits.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <utility>

#include "engine/net/key_pair.h"

namespace atl {

namespace asio = boost::asio;

class FairSlots {
 public:
  /// A place that was granted; given back by its destructor.
  class Slot {
   public:
    Slot(FairSlots& slots, const KeyId& tenant) : slots_(&slots), tenant_(tenant) {}
    Slot(Slot&& other) noexcept : slots_(std::exchange(other.slots_, nullptr)), tenant_(other.tenant_) {}
    Slot& operator=(Slot&&) = delete;
    ~Slot() {
      if (slots_ != nullptr) slots_->release(tenant_);
    }

   private:
    FairSlots* slots_;
    KeyId tenant_;
  };

  FairSlots(asio::any_io_executor executor, std::size_t total, std::size_t per_tenant)
      : executor_(std::move(executor)), total_(total), per_tenant_(per_tenant) {}

  asio::awaitable<Slot> acquire(KeyId tenant);
  std::size_t taken() const { return taken_; }
  std::size_t waiting() const { return waiting_; }

 private:
  struct Tenant {
    std::size_t taken = 0;
    std::deque<std::function<void()>> waiting;
    bool in_turn = false;  // listed in turns_
  };

  bool take(const KeyId& tenant);
  void wait(const KeyId& tenant, std::function<void()> granted);
  void release(const KeyId& tenant);
  void grant();

  asio::any_io_executor executor_;
  const std::size_t total_;
  const std::size_t per_tenant_;
  std::size_t taken_ = 0;
  std::size_t waiting_ = 0;
  std::map<KeyId, Tenant> tenants_;  // those that hold or want something
  std::list<KeyId> turns_;           // of those that want something, who is next
};

}  // namespace atl
