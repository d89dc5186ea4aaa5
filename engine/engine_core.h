// The engine over any loop and any nodes: what make_engine runs on real threads, and the simulator under virtual time.
//
// Everything happens on the loop's thread; public calls post to it. Threads and errors as Engine states them. `loop`,
// `random` and the nodes' disks outlive it; close() comes before the loop stops.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "engine/engine.h"
#include "engine/flow.h"
#include "engine/ship_interval.h"
#include "engine/statistics.h"
#include "engine/transfer/operation.h"
#include "engine/transfer/parts.h"

namespace atl {

class EngineCore final : public Engine, public FlowControl, public StatisticsKeeper, public ShipIntervals {
 public:
  /// Gives the node of a spec. Called in the thread of set_nodes.
  using NodeMaker = std::function<Result<std::shared_ptr<Node>>(const NodeSpec&)>;

  /// `nodes[i]` is the node of `specs[i]`. Probes of all nodes begin at once. Without a maker the set of nodes can only
  /// shrink.
  EngineCore(Loop& loop, Random& random, EngineOptions options, std::vector<NodeSpec> specs,
             std::vector<std::shared_ptr<Node>> nodes, NodeMaker make_node = {});
  ~EngineCore() override;

  void close() override;
  std::shared_ptr<Transfer> upload(UploadRequest request) override;
  std::shared_ptr<Transfer> fetch(FetchRequest request) override;
  void put(NodeId node, std::string name, std::shared_ptr<const Bytes> body,
           std::function<void(Result<>)> done) override;
  void remove(NodeId node, std::vector<std::string> names, std::function<void(Result<std::size_t>)> done) override;
  void list(NodeId node, std::string prefix, std::string after, std::size_t limit,
            std::function<void(Result<std::vector<std::string>>)> done) override;
  void stat(NodeId node, std::string name, std::function<void(Result<ObjectStat>)> done) override;
  Result<> set_nodes(std::vector<NodeSpec> nodes) override;
  std::vector<NodeStatus> nodes() const override;
  EngineCounters counters() const override;
  void set_flow(const Flow& flow) override;
  Flow flow() const override;
  std::map<NodeId, NodeStatistics> statistics() const override;
  std::map<NodeId, Duration> ship_intervals() const override;
  void on_node_change(std::function<void()> callback) override;

  /// Probes the present nodes that have said nothing for probe_interval; `asked` runs on the loop's thread once each of
  /// these has answered or failed, or never, if the engine is closed.
  void check_nodes(std::function<void()> asked);
  /// Runs `ready` on the loop's thread once every node has been probed, or has had `patience`.
  void when_probed(Duration patience, std::function<void()> ready);

 private:
  bool begin(std::shared_ptr<RunningTransfer> transfer);
  void probe_all();
  /// Whether a node that has said nothing for `silence_max` is to be asked.
  bool wants_probe(std::size_t node, Duration silence_max) const;
  void probe(std::size_t node);
  void add_node(const NodeSpec& spec, std::shared_ptr<Node> node);
  void retire_node(std::size_t node);
  void node_changed(std::size_t node);
  void tell_if_probed();
  void tell_checks(std::size_t node);

  EngineParts parts_;
  const NodeMaker make_node_;
  std::mutex close_mutex_;  // also: one change of the nodes at a time
  bool shut_ = false;    // guarded by close_mutex_: the loop is asked once only, it may be gone later
  bool closed_ = false;  // loop's thread only, from here on
  std::vector<bool> probing_;
  std::vector<bool> probed_;
  std::function<void()> probed_callback_;
  /// Who waits for probes to end.
  struct Check {
    std::set<std::size_t> nodes;
    std::function<void()> asked;
  };
  std::list<Check> checks_;
  mutable std::mutex flow_mutex_;
  Flow flow_;
  Loop::TimerId probe_timer_ = 0;
  Loop::TimerId patience_timer_ = 0;
  std::function<void()> change_callback_;
};

}  // namespace atl
