// What the connections of one NodeServer share. Inside engine/daemon only; on the network thread unless said otherwise.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <functional>
#include <memory>
#include <set>
#include <utility>

#include "engine/base/blocking_pool.h"
#include "engine/daemon/fair_slots.h"
#include "engine/daemon/gatekeeper.h"
#include "engine/daemon/metrics.h"
#include "engine/daemon/server.h"
#include "engine/node/run_blocking.h"

namespace atl {

/// A running coroutine of the server that can be asked to end.
class Ending {
 public:
  virtual ~Ending() = default;
  /// Ends it if it waits for a request, else lets it finish the one it serves.
  virtual void finish() = 0;
  /// Ends it now.
  virtual void cut() = 0;
};

/// A line for each connection that was refused; of a flood a few, and a count.
class RefusalLog {
 public:
  void add(MonotonicTime now, const std::string& address, const std::string& why);

 private:
  MonotonicTime since_{};
  int lines_ = 0;
  std::uint64_t kept_back_ = 0;
};

struct ServerCore {
  ServerCore(ObjectStore& store_, Disk& disk, const std::string& folder, const NodeId& node_, const ServerOptions& options_,
             Clock& clock_)
      : store(store_),
        node(node_),
        options(options_),
        clock(clock_),
        gatekeeper(store_, disk, folder, node_, clock_),
        admission(options_.limits.connections),
        served(io.get_executor(), options_.limits.served, options_.limits.served_per_tenant),
        disk_turns(io.get_executor(), options_.limits.disk_threads, options_.limits.disk_threads_per_tenant),
        pool(options_.limits.disk_threads) {}

  /// A call of the store, in the tenant's turn.
  template <typename Work>
  asio::awaitable<std::invoke_result_t<Work&>> on_disk(KeyId tenant, Work work) {
    const FairSlots::Slot turn = co_await disk_turns.acquire(tenant);
    co_return co_await run_blocking(pool, std::move(work));
  }

  void left(Ending& ending) {
    running.erase(&ending);
    if (running.empty() && emptied) std::exchange(emptied, nullptr)();
  }

  void count_connections() {
    counters.strangers = admission.strangers();
    counters.connections = admission.guests();
    counters.displaced = admission.displaced();
    counters.serving = served.taken();
    counters.waiting = served.waiting();
  }

  ObjectStore& store;
  const NodeId node;
  const ServerOptions options;
  Clock& clock;
  Gatekeeper gatekeeper;
  ServerCounters counters;
  RequestMetrics metrics;
  Admission admission;
  asio::io_context io{1};
  FairSlots served;
  FairSlots disk_turns;
  BlockingPool pool;
  std::unique_ptr<asio::ssl::context> tls;
  RefusalLog refusals;
  std::set<Ending*> running;
  std::function<void()> emptied;  // called when the last of `running` has left
  bool stopping = false;
};

}  // namespace atl
