// What a node tells Prometheus: counts of requests by kind and outcome, how long they took, and the store's and the
// server's counters. Thread-safe.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/base/clock.h"
#include "engine/daemon/store/object_store.h"

namespace atl {

struct ServerCounters;

class RequestMetrics {
 public:
  RequestMetrics();
  ~RequestMetrics();

  /// `kind` is one of a few words: put, get, head, delete, list, usage, account, redeem, other.
  void answered(std::string_view kind, unsigned status, Duration took);
  /// Everything in Prometheus' text format. Calls the store.
  std::string text(ObjectStore& store, const ServerCounters& counters, const std::string& node) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace atl
