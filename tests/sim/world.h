// One owner's computer and all nodes of a drive, on one Scheduler: a real Drive over the real EngineCore over simulated
// nodes. The computer can lose its power, its process or everything; the nodes are the nemesis's.
//
// All calls from inside tasks of the Scheduler, unless said otherwise. What must never happen throws Violation.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "cache/drive/drive.h"
#include "engine/engine_core.h"
#include "tests/sim/scheduler.h"
#include "tests/sim/simulated_node.h"
#include "tests/sim/trace.h"
#include "tests/support/memory_disk.h"

namespace atl::sim {

struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What a seed decides before anything happens.
struct Shape {
  std::uint64_t seed = 1;
  std::size_t nodes = 6;
  Redundancy redundancy{3, 6};
  std::uint8_t protect_min = 5;
  std::size_t countries = 3;
  DriveOptions drive;
  EngineOptions engine;
  std::uint64_t node_capacity = 4ull << 30;
  std::uint64_t disk_capacity = 4ull << 30;

  /// Drawn from the seed; `nodes` 0: drawn as well.
  static Shape draw(std::uint64_t seed, std::size_t nodes);
};

class World {
 public:
  World(Shape shape, bool print_trace);
  ~World();

  void create();
  void open();
  /// Unmounts as a person does. The error of close(), if any, is the drive's trouble and no violation by itself.
  Result<> close();
  /// The power goes: nothing reaches the disk or a node any more. Whoever is inside the drive is to leave it, then
  /// follows crash() or recover().
  void power_off();
  /// The disk is what the loss of power left, the index perhaps lost. The drive is closed.
  void crash();
  /// Nothing is left of the computer but the keys; the nodes bring the drive back.
  Result<> recover();
  bool is_open() const { return drive_ != nullptr; }

  Drive& drive() { return *drive_; }
  MemoryDisk& disk() { return *disk_; }
  SimulatedNode& node(std::size_t i) { return *nodes_[i]; }
  const NodeSpec& spec(std::size_t i) const { return specs_[i]; }
  std::size_t count() const { return nodes_.size(); }
  const Shape& shape() const { return shape_; }
  const Keyring& keyring() const { return keyring_; }
  DriveSeams seams() { return {*disk_, scheduler.clock(), *life_random_, scheduler}; }
  EngineCounters engine_counters() const { return engine_->counters(); }
  std::vector<NodeStatus> engine_nodes() const { return engine_->nodes(); }
  /// Waits until every node has been asked once, or `patience` has passed.
  void wait_probed(Duration patience);
  /// Bytes of objects that are neither heads, journal, checkpoints nor claims.
  std::uint64_t shard_bytes() const;
  std::uint64_t shard_bytes(std::size_t node) const;
  void note(const std::string& what) { trace.note(what); }

  Scheduler scheduler;
  Trace trace;
  SeededRandom random;  // for what befalls the world
  Caller caller;

 private:
  void make_directory();
  std::string directory() const { return "/state"; }
  void start_engine();
  void stop_engine();
  void next_life();

  const Shape shape_;
  SecretKey wrapping_;
  Keyring keyring_;
  std::unique_ptr<MemoryDisk> disk_;
  std::unique_ptr<MemoryDisk> disk_after_;  // the power went
  std::vector<std::unique_ptr<SimulatedNode>> nodes_;
  std::vector<NodeSpec> specs_;
  std::vector<Distance> distances_;
  SeededRandom network_random_;
  std::uint64_t lives_ = 0;
  std::unique_ptr<SeededRandom> life_random_;  // of one process: what a dead one would have drawn matters to nobody
  std::vector<std::unique_ptr<SeededRandom>> old_randoms_;
  std::vector<std::shared_ptr<SimulatedLink>> links_;
  std::unique_ptr<SimulatedLoop> loop_;
  std::unique_ptr<EngineCore> engine_;
  std::unique_ptr<Drive> drive_;
};

}  // namespace atl::sim
