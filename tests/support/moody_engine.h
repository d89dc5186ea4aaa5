// A FakeEngine whose nodes have likes and moods: they name the interval between shipments that they like, do not say what they
// hold, and note what single objects they take. Not for use with threads; what it wraps outlives it.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/ship_interval.h"
#include "tests/support/fake_engine.h"

namespace atl {

class MoodyEngine final : public Engine, public ShipIntervals {
 public:
  explicit MoodyEngine(FakeEngine& engine) : engine_(engine) {}

  std::map<NodeId, Duration> intervals;
  std::set<NodeId> mute;                              // does not say what it holds; all else it does
  std::map<NodeId, std::vector<std::string>> puts;  // single objects that it took, in order

  std::map<NodeId, Duration> ship_intervals() const override { return intervals; }
  void close() override { engine_.close(); }
  std::shared_ptr<Transfer> upload(UploadRequest request) override { return engine_.upload(std::move(request)); }
  std::shared_ptr<Transfer> fetch(FetchRequest request) override { return engine_.fetch(std::move(request)); }
  void put(NodeId node, std::string name, std::shared_ptr<const Bytes> body, std::function<void(Result<>)> done) override {
    engine_.put(node, name, std::move(body), [this, node, name, done](Result<> stored) {
      if (stored) puts[node].push_back(name);
      done(std::move(stored));
    });
  }
  void remove(NodeId node, std::vector<std::string> names, std::function<void(Result<std::size_t>)> done) override {
    engine_.remove(node, std::move(names), std::move(done));
  }
  void list(NodeId node, std::string prefix, std::string after, std::size_t limit, std::function<void(Result<std::vector<std::string>>)> done) override {
    engine_.list(node, std::move(prefix), std::move(after), limit, [this, node, done](Result<std::vector<std::string>> names) {
      if (mute.contains(node)) return done(fail(Code::unavailable, "it does not say"));
      done(std::move(names));
    });
  }
  void stat(NodeId node, std::string name, std::function<void(Result<ObjectStat>)> done) override { engine_.stat(node, std::move(name), std::move(done)); }
  Result<> set_nodes(std::vector<NodeSpec> nodes) override { return engine_.set_nodes(std::move(nodes)); }
  std::vector<NodeStatus> nodes() const override { return engine_.nodes(); }
  EngineCounters counters() const override { return engine_.counters(); }
  void on_node_change(std::function<void()> callback) override { engine_.on_node_change(std::move(callback)); }

 private:
  FakeEngine& engine_;
};

}  // namespace atl
