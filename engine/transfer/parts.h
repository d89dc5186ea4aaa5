// What all transfers of one engine share. Lives as long as the engine; on the loop's thread only, counters apart.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "engine/base/random.h"
#include "engine/engine.h"
#include "engine/health/health.h"
#include "engine/loop/loop.h"
#include "engine/node/node.h"
#include "engine/transfer/pacer.h"
#include "engine/transfer/slots.h"

namespace atl {

/// EngineCounters that grow without a lock.
struct Counters {
  std::atomic<std::uint64_t> node_reads{0};
  std::atomic<std::uint64_t> node_read_bytes{0};
  std::atomic<std::uint64_t> node_writes{0};
  std::atomic<std::uint64_t> node_write_bytes{0};
  std::atomic<std::uint64_t> node_removes{0};
  std::atomic<std::uint64_t> node_errors{0};
  std::atomic<std::uint64_t> bad_shards{0};
  std::atomic<std::uint64_t> hedged_reads{0};

  EngineCounters read() const {
    EngineCounters now;
    now.node_reads = node_reads;
    now.node_read_bytes = node_read_bytes;
    now.node_writes = node_writes;
    now.node_write_bytes = node_write_bytes;
    now.node_removes = node_removes;
    now.node_errors = node_errors;
    now.bad_shards = bad_shards;
    now.hedged_reads = hedged_reads;
    return now;
  }
};

/// The way in from other threads, which shuts before the loop ends. Shared, since handles outlive the engine.
class LoopGate {
 public:
  explicit LoopGate(asio::any_io_executor executor) : executor_(std::move(executor)) {}
  /// Posts `task` to the loop; false, and nothing happens, once shut.
  bool post(std::function<void()> task);
  void shut();

 private:
  std::mutex mutex_;
  bool shut_ = false;
  asio::any_io_executor executor_;
};

class RunningTransfer;

/// A call of a node, as those see it who may end it.
class Operation {
 public:
  virtual ~Operation() = default;
  /// `done` does not run any more.
  virtual void cancel() = 0;
  /// The node is none of the drive's any more: ends with Code::unavailable at once.
  virtual void expel() = 0;
};

/// Nodes are known by an index, which never means another node or address later: a node that left, or moved, leaves its
/// place behind as retired, so that calls which still run there disturb nobody.
struct EngineParts {
  Loop& loop;
  Random& random;
  const EngineOptions options;
  HealthTable health;
  Slots slots;
  const std::shared_ptr<Pacer> upload;    // what goes to nodes
  const std::shared_ptr<Pacer> download;  // what comes from them
  Counters counters;
  std::vector<std::shared_ptr<Node>> nodes;
  std::vector<std::set<std::shared_ptr<Operation>>> operations;  // that have not ended, by node
  std::unordered_map<NodeId, std::size_t> index;
  std::shared_ptr<LoopGate> gate;
  std::set<std::shared_ptr<RunningTransfer>> running;  // kept alive until they finish

  EngineParts(Loop& loop_, Random& random_, EngineOptions options_, const std::vector<NodeSpec>& specs,
              std::vector<std::shared_ptr<Node>> nodes_);

  std::size_t add_node(const NodeSpec& spec, std::shared_ptr<Node> node);
  void retire_node(std::size_t node);

  std::optional<std::size_t> find(const NodeId& id) const {
    const auto found = index.find(id);
    if (found == index.end()) return std::nullopt;
    return found->second;
  }
};

/// A transfer that has begun. begin() and stop() on the loop's thread; cancel() from any.
class RunningTransfer : public Transfer, public std::enable_shared_from_this<RunningTransfer> {
 public:
  explicit RunningTransfer(EngineParts& parts) : parts_(parts), gate_(parts.gate) {}

  void cancel() override;
  /// Starts it, and keeps it alive until it leaves.
  void begin();
  /// Ends it with Code::cancelled, unless it has finished.
  virtual void stop() = 0;

 protected:
  virtual void start() = 0;
  /// The last step of finishing; nothing of the engine is touched afterwards, so that the handle may outlive it.
  void leave() { parts_.running.erase(shared_from_this()); }

  EngineParts& parts_;

 private:
  std::shared_ptr<LoopGate> gate_;
};

}  // namespace atl
