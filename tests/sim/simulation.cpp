#include "tests/sim/simulation.h"

#include <functional>
#include <memory>
#include <set>

#include "tests/sim/nemesis.h"
#include "tests/sim/workload.h"

namespace atl::sim {
namespace {

using namespace std::chrono_literals;

class Simulation {
 public:
  explicit Simulation(const RunOptions& options)
      : options_(options), world_(shape_of(options), options.trace), workload_(world_), nemesis_(world_),
        random_(options.seed * 7 + 1) {}

  RunReport run() {
    RunReport report;
    try {
      world_.scheduler.run([this] { options_.losses ? lose_by_turns() : live(); });
      report.passed = true;
    } catch (const std::exception& problem) {
      report.why = problem.what();
    }
    report.hash = world_.trace.hash();
    report.events = world_.trace.events();
    report.simulated_seconds = static_cast<double>(world_.scheduler.now().time_since_epoch().count()) * 1e-9;
    report.operations = workload_.operations;
    report.reads = workload_.reads;
    report.reads_failed = workload_.reads_failed;
    report.protections = workload_.protections;
    report.strikes = nemesis_.strikes;
    report.nodes = world_.count();
    return report;
  }

 private:
  void live() {
    world_.create();
    world_.open();
    if (!reaches(SyncLevel::protected_)) throw Violation("a fresh drive does not become protected");
    world_.scheduler.post([this] { beside([this] { nemesis_.rage(stop_); }); });
    world_.scheduler.post([this] { beside([this] { workload_.read_now_and_then(stop_); }); });
    if (options_.days == 0) {
      // With a thousand nodes each minute costs as much as an hour with ten.
      session(world_.count() > 100 ? 40s : Duration(std::chrono::minutes(5 + random_.below(15))));
    } else {
      const MonotonicTime end = world_.scheduler.now() + std::chrono::hours(24 * options_.days);
      while (world_.scheduler.now() < end) {
        session(Duration(std::chrono::minutes(2 + random_.below(20))));
        if (random_.below(20) == 0) settle();
        away();
      }
    }
    stop_ = true;
    while (beside_ > 0) world_.scheduler.sleep(1s);
    settle();
    end_of_computer();
    check_bounds();
    if (auto closed = world_.close(); !closed) throw Violation("unmounting failed: " + closed.error().what);
  }

  static Shape shape_of(const RunOptions& options) {
    Shape shape = Shape::draw(options.seed, options.nodes);
    if (!options.losses) return shape;
    // One more than shards, so that what is lost has a place to go to.
    shape.nodes = std::max<std::size_t>(shape.nodes, shape.redundancy.n + 1u);
    shape.drive.gc_grace = 0s;
    shape.drive.repair_grace = 2min;
    shape.drive.care_bandwidth = 8ull << 20;
    return shape;
  }

  /// As many nodes as may be lost are, one after the other, ten times over; each time care makes good for it before the
  /// next, and a blank one takes its place. Nothing is lost, and no more is read and written than a rebuilding needs.
  void lose_by_turns() {
    const Redundancy redundancy = world_.shape().redundancy;
    world_.create();
    world_.open();
    for (int i = 0; i < 200; ++i) workload_.step();
    for (const NodeCare& node : world_.drive().care().status().nodes)
      if (node.leaving && !world_.drive().care().drain(node.node, false, false, {}, {})) throw Violation("a node cannot stay");
    const auto traffic = [this] {
      const auto counters = world_.drive().status().counters;
      return counters.at("care_read_bytes") + counters.at("care_written_bytes");
    };
    if (!reaches(SyncLevel::full)) throw Violation("all nodes are there, and yet not all becomes full");
    workload_.check_care();
    const std::uint64_t before = traffic();
    std::uint64_t least = 0;
    for (unsigned loss = 0; loss < 10u * (redundancy.n - redundancy.k); ++loss) {
      // So that what lies on the node is what the drive needs. A node may be busy just now.
      for (int tries = 0; !world_.drive().collect_garbage(true, {}); ++tries) {
        if (tries == 30) throw Violation("garbage stays though all nodes are there");
        world_.scheduler.sleep(10s);
      }
      const std::size_t victim = loss % world_.count();
      SimulatedNode& node = world_.node(victim);
      // Any k shards are read for each that is lost, and one is written.
      least += world_.shard_bytes(victim) * (redundancy.k + 1u);
      world_.note("node " + std::to_string(victim) + " is lost");
      node.faults.gone = true;
      workload_.check_care();
      const SimulatedNode::Objects held = node.objects();
      for (const auto& [name, object] : held) node.erase(name);
      node.faults.gone = false;
      if (!reaches(SyncLevel::full)) throw Violation("a blank node came, and yet not all becomes full");
    }
    if (least == 0) throw Violation("nothing was lost");
    const std::uint64_t took = traffic() - before;
    if (took * 10 > least * 13) throw Violation("repairs took " + std::to_string(took) + " bytes, where " + std::to_string(least) + " do");
    workload_.drop_cache();
    workload_.check_everything(10min);
    workload_.check_counters();
    if (auto closed = world_.close(); !closed) throw Violation("unmounting failed: " + closed.error().what);
  }

  void beside(const std::function<void()>& task) {
    ++beside_;
    task();
    --beside_;
  }

  /// What comes back is compared wholly, for which all honest nodes have to be there.
  void calmly(const std::function<void()>& task) {
    nemesis_.pause(true);
    nemesis_.heal();
    task();
    nemesis_.pause(false);
  }

  /// Somebody works while anything may fail.
  void session(Duration length) {
    const MonotonicTime end = world_.scheduler.now() + length;
    while (world_.scheduler.now() < end) {
      switch (random_.below(60)) {
        case 0: calmly([this] { workload_.crash(); }); break;
        case 1: calmly([this] { workload_.crash_amid(); }); break;
        case 2: calmly([this] { workload_.restart(); }); break;
        case 3:
          if (random_.below(4) == 0) workload_.fill_disk();
          break;
        case 4:
          if (random_.below(4) == 0) calmly([this] { workload_.lose_computer(); });
          break;
        default: workload_.step();
      }
      world_.scheduler.sleep(Duration(static_cast<Duration::rep>(random_.below(4'000'000'000))));
      check_bounds();
    }
  }

  /// The computer is off, suspended or idle, for hours or weeks.
  void away() {
    const auto hours = static_cast<std::int64_t>(random_.below(10) == 0 ? 24 * (1 + random_.below(40)) : 1 + random_.below(40));
    switch (random_.below(12)) {
      case 0:
        world_.note("idle for six hours");
        world_.scheduler.sleep(6h);
        break;
      case 1:
      case 2:
      case 3:
        world_.note("suspended for " + std::to_string(hours) + " hours");
        world_.scheduler.jump(std::chrono::hours(hours));
        break;
      default:
        world_.note("off for " + std::to_string(hours) + " hours");
        calmly([&] { workload_.off_for(std::chrono::hours(hours)); });
    }
  }

  /// Liveness: nothing fails any more, and within stated times everything is well.
  void settle() {
    nemesis_.pause(true);
    nemesis_.redeem();
    if (workload_.disk_fails()) workload_.restart();
    if (!reaches(SyncLevel::protected_)) throw Violation("nodes are there, and yet nothing becomes protected");
    workload_.keep_enough();
    if (!reaches(SyncLevel::full)) throw Violation("all nodes are there, and yet not all becomes full");
    workload_.drop_cache();
    workload_.check_everything(10min);
    workload_.check_counters();
    // A week of waiting for nodes that may return is another simulation's business.
    if (world_.shape().drive.repair_grace <= 1h) {
      workload_.check_care();
      nemesis_.write_off([this](std::size_t node) { return workload_.empty(node); });
      check_survival();
    }
    nemesis_.pause(false);
  }

  /// With all nodes there. A single sync may give up before a node that was away or lied is trusted again. Where too many failed
  /// their audits there is no place for what is new, and only their owner can help: then nothing is asked for.
  bool reaches(SyncLevel level) {
    const MonotonicTime deadline = world_.scheduler.now() + 30min;
    while (!workload_.sync(level, 10min)) {
      if (workload_.usable() < (level == SyncLevel::full ? world_.shape().redundancy.n : world_.shape().protect_min)) {
        world_.note("too few nodes are trusted to take what is new");
        return true;
      }
      if (world_.scheduler.now() >= deadline) return false;
      world_.scheduler.sleep(10s);
    }
    return true;
  }

  /// What the drive says that it survives, it does survive.
  void check_survival() {
    if (!nemesis_.all_honest()) return;  // what was spoilt and not yet audited, nobody knows of
    const Survival survives = world_.drive().status().survives;
    std::vector<std::vector<std::size_t>> losses;
    for (const LabelSurvival& label : survives.labels) {
      if (label.may_vanish.empty()) continue;
      const std::string& value = label.may_vanish[random_.below(label.may_vanish.size())];
      world_.note("all of " + label.key + " " + value + " vanishes");
      losses.emplace_back();
      for (std::size_t i = 0; i < world_.count(); ++i)
        if (world_.spec(i).labels.at(label.key) == value) losses.back().push_back(i);
    }
    std::set<std::size_t> any;
    while (any.size() < std::min<std::size_t>(survives.any, world_.count())) any.insert(random_.below(world_.count()));
    losses.emplace_back(any.begin(), any.end());
    for (const auto& nodes : losses) {
      nemesis_.cut_off(nodes);
      workload_.drop_cache();
      workload_.check_everything(10min);
      nemesis_.heal();
    }
    if (!reaches(SyncLevel::protected_)) throw Violation("nodes are back, and yet nothing becomes protected");
  }

  void end_of_computer() {
    // A little more that nobody waited for, and then the worst: the untrusted nodes are as bad as they can be.
    for (int i = 0; i < (world_.count() > 100 ? 3 : 10); ++i) workload_.step();
    nemesis_.heal();
    nemesis_.betray();
    workload_.lose_computer();
    nemesis_.redeem();
    if (!reaches(SyncLevel::protected_)) throw Violation("what came back from nodes does not become protected again");
    workload_.check_everything(10min);
    workload_.check_counters();
  }

  void check_bounds() {
    const EngineOptions& engine = world_.shape().engine;
    for (std::size_t i = 0; i < world_.count(); ++i) {
      if (world_.node(i).running_most > engine.transfers_per_node_max)
        throw Violation("node " + std::to_string(i) + " was asked " + std::to_string(world_.node(i).running_most) + " things at once");
    }
    if (world_.scheduler.queue_most() > 4'000) throw Violation("the queue of tasks grew to " + std::to_string(world_.scheduler.queue_most()));
    if (world_.scheduler.fibers_most() > 200) throw Violation(std::to_string(world_.scheduler.fibers_most()) + " tasks wait at once");
    if (!world_.is_open()) return;
    const EngineCounters now = world_.engine_counters();
    std::uint64_t stored = 0;
    for (std::size_t i = 0; i < world_.count(); ++i) stored += world_.node(i).acknowledged;
    if (now.node_writes > stored) throw Violation("the engine counts more stored objects than nodes acknowledged");
  }

  const RunOptions options_;
  World world_;
  Workload workload_;
  Nemesis nemesis_;
  SeededRandom random_;
  bool stop_ = false;
  std::size_t beside_ = 0;
};

}  // namespace

RunReport simulate(const RunOptions& options) {
  // Not destroyed after a failure: what waits in it never goes on.
  auto simulation = std::make_unique<Simulation>(options);
  RunReport report = simulation->run();
  if (!report.passed) (void)simulation.release();
  return report;
}

}  // namespace atl::sim
