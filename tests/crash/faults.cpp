// Every call to the disk fails once.
#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <vector>

#include "tests/crash/crash_states.h"
#include "tests/crash/world.h"

namespace atl::crash {
namespace {

constexpr std::uint32_t op_in_parts = MemoryDisk::op_write | MemoryDisk::op_allocate;
constexpr std::uint32_t op_takes_space = op_in_parts | MemoryDisk::op_sync | MemoryDisk::op_create | MemoryDisk::op_rename |
                                         MemoryDisk::op_make_directory | MemoryDisk::op_sync_directory;

struct Way {
  const char* name;
  MemoryDisk::Fault fault;
  std::uint32_t operations;  // that can fail so
};
const Way ways[] = {
    {"EIO", {Code::io}, MemoryDisk::op_all},
    {"ENOSPC", {Code::no_space}, op_takes_space},
    {"EIO, half done", {Code::io, true}, op_in_parts},
    {"ENOSPC, half done", {Code::no_space, true}, op_in_parts},
    {"EIO, though done", {Code::io, false, true}, MemoryDisk::op_changes | MemoryDisk::op_sync | MemoryDisk::op_sync_directory},
};

// Everything that touches a file: staging, journal, index, cache, heads; shipped, dropped, collected, remounted.
const char* const workload_text =
    "overwrite,create,commit,append,large,commit,setxattr,rename-over,flush,write,ship,punch,copy,commit,unlink,gc,symlink,ship,remount,append,commit,"
    "noreplace,large,truncate,commit,gc,extend,commit,flush,mkdir,commit,remount,write,commit";

/// What each call of the workload is, where none fails: up to its fault a run with one makes the same.
std::vector<std::uint32_t> calls_of(const Remains& base) {
  World world({base.disk->clone(), base.nodes});
  std::vector<std::uint32_t> calls;
  world.disk().set_fault_rule([&](const MemoryDisk::Call& call) -> std::optional<MemoryDisk::Fault> {
    calls.push_back(call.operation);
    return std::nullopt;
  });
  if (auto opened = world.open(); !opened) throw std::runtime_error(opened.error().what);
  (void)world.describe();
  const auto workload = from_text(workload_text);
  for (std::size_t step = 0; step < workload.size(); ++step) {
    if (world.perform(kinds()[workload[step]], step + 1) == World::Outcome::failed) throw std::runtime_error("the workload fails by itself");
    (void)world.describe();
  }
  world.disk().clear_faults();
  return calls;
}

/// What went wrong; empty if nothing did.
std::string try_one(const Remains& base, const Way& way, std::uint64_t nth) {
  World world({base.disk->clone(), base.nodes});
  bool struck = false;
  std::uint64_t calls = 0;
  world.disk().set_fault_rule([&](const MemoryDisk::Call&) -> std::optional<MemoryDisk::Fault> {
    if (++calls != nth) return std::nullopt;
    struck = true;
    return way.fault;
  });
  auto opened = world.open();
  if (!opened) opened = world.open();
  if (!opened) return "a fault that is over keeps the drive from opening: " + opened.error().what;
  std::vector<std::string> states{world.describe()};
  if (states.back().find('!') != std::string::npos) states.back() = world.describe();
  std::size_t acknowledged = 0;
  const auto workload = from_text(workload_text);
  for (std::size_t step = 0; step < workload.size(); ++step) {
    const auto outcome = world.perform(kinds()[workload[step]], step + 1);
    if (world.acknowledged() && outcome != World::Outcome::done) return "an operation that failed counts as done";
    if (!world.is_open()) break;
    std::string now = world.describe();
    if (now.find('!') != std::string::npos) now = world.describe();  // the fault may have struck a read: once
    if (now.find('!') != std::string::npos) break;                   // the drive has stopped, and says so
    if (now != states.back()) states.push_back(std::move(now));
    if (outcome == World::Outcome::done && world.acknowledged()) acknowledged = states.size() - 1;
  }
  world.disk().clear_faults();
  if (!struck) return "the call is never made";
  auto left = world.disk().crash(nth % 2 == 0 ? MemoryDisk::Unflushed::drop : MemoryDisk::Unflushed::draw, nth);
  const Nodes nodes = world.nodes();
  world.kill();
  World again({std::move(left), nodes});
  if (auto reopened = again.open(); !reopened) return "the drive does not open any more: " + reopened.error().what;
  const std::string tree = again.describe();
  for (std::size_t i = acknowledged; i < states.size(); ++i)
    if (states[i] == tree) return "";
  for (std::size_t i = 0; i < acknowledged; ++i)
    if (states[i] == tree) return "what was acknowledged is lost";
  return "the tree is none that the drive ever had\n" + tree;
}

}  // namespace

CrashTally try_faults(std::uint64_t first, std::uint64_t step, std::uint64_t last, const std::string& program) {
  CrashTally tally;
  const Remains base = World::base(false);
  const std::vector<std::uint32_t> calls = calls_of(base);
  last = std::min<std::uint64_t>(last, calls.size());
  for (const Way& way : ways) {
    for (std::uint64_t nth = first; nth <= last; nth += step) {
      if ((way.operations & calls[nth - 1]) == 0) continue;
      ++tally.states;
      std::string problem;
      try {
        problem = try_one(base, way, nth);
      } catch (const std::exception& error) {
        problem = error.what();
      }
      if (problem.empty()) continue;
      ++tally.failures;
      if (tally.failures > 10) continue;
      const auto number = static_cast<unsigned long long>(nth);
      std::printf("FAIL faults: call %llu fails (%s): %s\n    repeat: %s faults --call %llu\n", number, way.name, problem.c_str(), program.c_str(), number);
      std::fflush(stdout);
    }
  }
  return tally;
}

}  // namespace atl::crash
