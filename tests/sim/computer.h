// One of several computers that open a drive over the same simulated nodes: a disk, a state folder on it, an engine, and
// what its person saved there. It can be cut off from some nodes, lose its power, or be lost.
//
// All calls from inside tasks of the Scheduler. What must never happen throws Violation.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cache/recovery/fork.h"
#include "cache/recovery/take_over.h"
#include "engine/engine_core.h"
#include "tests/sim/world.h"

namespace atl::sim {

/// What all computers share.
struct Nodes {
  Scheduler& scheduler;
  Trace& trace;
  SeededRandom& random;
  const Keyring& keyring;
  std::vector<std::unique_ptr<SimulatedNode>> machines;
  std::vector<NodeSpec> specs;
  std::vector<Distance> distances;
  DriveOptions options;
};

class Computer {
 public:
  Computer(Nodes& nodes, std::string name, std::uint64_t seed);
  ~Computer();

  void create(Redundancy redundancy, std::uint8_t protect_min);
  void open();
  void close();
  /// The power goes; the disk is what that left, the index perhaps lost. The drive is closed.
  void lose_power();
  /// Only these nodes are reached from now on.
  void reach(std::set<std::size_t> nodes);
  void reach_all();

  /// From the nodes, on a fresh disk; the epoch is claimed, the drive not opened.
  Result<EpochClaim> recover();
  /// Of a drive that is not open. What was brought comes into "Recovered from NAME".
  Result<TakenOver> take_over();
  /// The newest fork comes into the drive, which is not open, and an epoch is claimed.
  Result<BroughtFork> bring_fork();

  /// One more file of this computer's own, or other content of one; durable here. False where it takes no changes.
  bool save();
  /// Whether all of that is protected on nodes.
  bool ship(Duration patience);
  DriveState state() { return drive_->status().state; }
  std::uint64_t counter(const std::string& name) { return drive_->status().counters.at(name); }
  Drive& drive() { return *drive_; }

  using Files = std::map<std::string, Bytes>;
  /// What it saved since its history parted from the others', or all; by name.
  Files saved;
  Files shipped;  // as it was when all was last protected
  /// Every file that the drive holds now, by path.
  Files everything(Duration patience);
  /// digest(replayed) = digest(live). The drive is not open, before and afterwards.
  void check_digest();

 private:
  DriveSeams seams() { return {*disk_, nodes_.scheduler.clock(), random_, nodes_.scheduler}; }
  void start_engine();
  void stop_engine();
  std::unique_ptr<Drive> opened(DriveOptions options);
  void remove_index();
  void read_below(InodeNumber folder, const std::string& path, MonotonicTime deadline, Files& files);

  Nodes& nodes_;
  const std::string name_;
  SeededRandom random_;
  std::string home_ = "/state";
  std::size_t homes_ = 0;
  std::unique_ptr<MemoryDisk> disk_;
  std::set<std::size_t> away_;
  std::vector<std::shared_ptr<SimulatedLink>> links_;
  std::unique_ptr<SimulatedLoop> loop_;
  std::unique_ptr<EngineCore> engine_;
  std::unique_ptr<Drive> drive_;
  int count_ = 0;
};

}  // namespace atl::sim
