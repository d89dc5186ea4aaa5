#include "tests/crash/crash_states.h"

#include <algorithm>
#include <cstdio>
#include <stdexcept>

#include "tests/crash/world.h"

namespace atl::crash {
namespace {

constexpr std::size_t long_workload = 40;
constexpr std::size_t failures_shown = 10;
constexpr double changes_of_three = 30;  // that a workload of three operations makes, with those of second cuts, about

/// What a crash left, and which states of the history it may show.
struct Case {
  Remains remains;
  std::size_t least = 0;    // the last state that was acknowledged
  std::uint64_t draw = 0;   // the seed of the crash
  std::uint64_t change = 0; // the change before which the power went
};

class Runner {
 public:
  Runner(const CrashPlan& plan, std::string program, CrashTally& tally)
      : plan_(plan), program_(std::move(program)), tally_(tally) {
    for (const bool shipped : {false, true}) bases_.push_back(World::base(shipped));
  }

  /// `draws` states at each change with probability `share`, and at one of them at least.
  void run(const std::vector<std::size_t>& workload, bool shipped, std::uint64_t draws, double share) {
    ++tally_.workloads;
    text_ = to_text(workload) + (shipped ? " --shipped" : "");
    const Remains& base = bases_[shipped ? 1 : 0];
    World world({base.disk->clone(), base.nodes});
    if (auto opened = world.open(); !opened) return report("the base does not open: " + opened.error().what, 0, 0);
    std::vector<std::string> states{world.describe()};
    std::size_t acknowledged = 0;
    std::vector<Case> cases;
    SeededRandom pick(plan_.seed * 31 + tally_.workloads);
    std::uint64_t change = 0;
    bool any = false, last = false;
    world.disk().set_fault_rule([&](const MemoryDisk::Call& call) -> std::optional<MemoryDisk::Fault> {
      if ((call.operation & (MemoryDisk::op_changes | MemoryDisk::op_sync | MemoryDisk::op_sync_directory)) == 0) return {};
      ++change;
      if (!pick.chance(share) && (any || !last)) return {};
      any = true;
      for (std::uint64_t i = 0; i < draws; ++i) {
        // Names are numbered within the workload alone, so that a replay draws the same.
        const std::uint64_t draw = plan_.seed * 1'000'003 + change * 64 + i;
        cases.push_back({world.remains_after(world.disk().crash(draw)), acknowledged, draw, change});
      }
      return {};
    });
    for (std::size_t step = 0; step <= workload.size(); ++step) {
      last = step == workload.size();
      const std::string& kind = step < workload.size() ? kinds()[workload[step]] : kinds()[21];  // last a commit
      const auto outcome = world.perform(kind, step + 1);
      if (outcome == World::Outcome::failed) return report("the operation " + kind + " fails on a sound disk", change, 0);
      std::string now = world.describe();
      if (now != states.back()) states.push_back(std::move(now));
      for (Case& each : cases) judge(std::move(each), states);
      cases.clear();
      if (outcome == World::Outcome::done && world.acknowledged()) acknowledged = states.size() - 1;
    }
    world.disk().clear_faults();
  }

 private:
  void report(const std::string& what, std::uint64_t change, std::uint64_t draw) {
    ++tally_.failures;
    if (tally_.failures > failures_shown) return;
    std::printf("FAIL crash states: %s\n    workload %s, power cut at change %llu, draw %llu\n    repeat: %s states --only %s --seed %llu --draws 8\n",
                what.c_str(), text_.c_str(), static_cast<unsigned long long>(change), static_cast<unsigned long long>(draw), program_.c_str(),
                text_.c_str(), static_cast<unsigned long long>(plan_.seed));
    std::fflush(stdout);
  }

  /// The recovered tree as one of the allowed states; states.size() if it is none.
  std::size_t recovered(World& world, const Case& from, const std::vector<std::string>& states, const char* when) {
    ++tally_.states;
    try {
      if (auto opened = world.open(); !opened) {
        report(std::string(when) + ": the drive does not open: " + opened.error().what, from.change, from.draw);
        return states.size();
      }
      const std::string tree = world.describe();
      for (std::size_t i = states.size(); i-- > from.least;)
        if (states[i] == tree) return i;
      const bool lost = std::ranges::find(states, tree) != states.end();
      report(std::string(when) + (lost ? ": what was acknowledged is lost" : ": the tree is none that the drive ever had") + "\n" + tree, from.change, from.draw);
    } catch (const std::exception& error) {
      report(std::string(when) + ": " + error.what(), from.change, from.draw);
    }
    return states.size();
  }

  void judge(Case from, const std::vector<std::string>& states) {
    // Now and then the power goes again while the drive recovers; what that leaves must recover as well.
    if (from.draw % 5 == 0) {
      auto copy = from.remains.disk->clone();
      copy->power_off_at(1 + from.draw / 5 % 12);
      World interrupted({std::move(copy), from.remains.nodes});
      (void)interrupted.open();
      auto left = interrupted.disk().crash(from.draw + 1);
      interrupted.kill();
      World again({std::move(left), from.remains.nodes});
      (void)recovered(again, from, states, "after a power cut during recovery");
    }
    World world(std::move(from.remains));
    const std::size_t found = recovered(world, from, states, "after the power cut");
    if (found == states.size() || from.draw % 4 != 0) return;
    // What somebody has seen stays, and the drive goes on from there.
    if (from.draw % 8 == 0) {
      if (world.perform("mkdir", 999) != World::Outcome::done || world.perform("commit", 0) != World::Outcome::done)
        return report("after the power cut: the drive takes no changes", from.change, from.draw);
    }
    const std::string seen = world.describe();
    auto left = world.disk().crash(MemoryDisk::Unflushed::drop);
    const Nodes nodes = world.nodes();
    world.kill();
    World again({std::move(left), nodes});
    (void)recovered(again, {{}, 0, from.draw, from.change}, {seen}, "after a second power cut");
  }

  const CrashPlan& plan_;
  const std::string program_;
  CrashTally& tally_;
  std::vector<Remains> bases_;
  std::string text_;
};

}  // namespace

CrashTally try_crash_states(const CrashPlan& plan, const std::string& program) {
  CrashTally tally;
  Runner runner(plan, program, tally);
  if (!plan.only.empty()) {
    const bool shipped = plan.only.ends_with(" --shipped");
    const auto workload = from_text(plan.only.substr(0, plan.only.find(' ')));
    if (workload.empty()) throw std::runtime_error("no workload: " + plan.only);
    runner.run(workload, shipped, plan.draws == 0 ? 8 : plan.draws, 1);
    return tally;
  }
  const std::size_t count = kinds().size();
  const std::uint64_t target = plan.states / plan.parts;
  std::uint64_t number = 0;
  const auto mine = [&] { return number++ % plan.parts == plan.part; };
  // All of one and two operations, at every change of theirs.
  for (std::size_t a = 0; a < count; ++a)
    for (std::size_t b = 0; b <= count; ++b) {
      if (!mine()) continue;
      const std::vector<std::size_t> workload = b == count ? std::vector{a} : std::vector{a, b};
      runner.run(workload, number % 2 == 0, plan.states >= 1'000'000 ? 6 : 1, 1);
    }
  // All of three, at some changes of each: three quarters of what is left to do.
  const std::uint64_t before = tally.states;
  const std::uint64_t triples = count * count * count;
  const double each = target > before ? static_cast<double>(target - before) * 0.75 * plan.parts / static_cast<double>(triples) : 1;
  for (std::uint64_t triple = 0; triple < triples; ++triple) {
    if (!mine()) continue;
    const std::vector<std::size_t> workload{triple / count / count, triple / count % count, triple % count};
    runner.run(workload, (workload[0] + workload[1] + workload[2]) % 2 == 0, 1, std::min(1.0, each / changes_of_three));
    if (tally.failures > 100) return tally;
  }
  // Long ones of everything for the rest.
  SeededRandom draw(plan.seed * 977 + plan.part);
  while (tally.states < target) {
    std::vector<std::size_t> workload(long_workload);
    for (std::size_t& kind : workload) kind = draw.below(count);
    runner.run(workload, draw.chance(0.5), 1, 0.5);
    if (tally.failures > 100) return tally;
  }
  return tally;
}

}  // namespace atl::crash
