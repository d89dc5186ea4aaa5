// Power cuts, faults and damage, on a drive in memory:
//
//   crash_tests states [--states N] [--seed S] [--jobs J]
//   crash_tests states --only WORKLOAD [--shipped] [--seed S] [--draws N]    a workload is kinds with commas between
//   crash_tests faults [--call N] [--every N] [--jobs J]
//   crash_tests damage [--case N] [--jobs J]
//
// Prints a line `ok` or `FAIL` for each, with counts and the command that replays a failure. Exit 0, 1, or 2 for usage.
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <string>
#include <thread>

#include "tests/crash/crash_states.h"

using namespace atl::crash;

namespace {

struct Settings {
  std::string suite;
  CrashPlan plan;
  std::uint64_t call = 0;
  std::uint64_t every = 1;
  std::string one_case;
  unsigned jobs = std::max(1u, std::thread::hardware_concurrency());
};

bool read(int argc, char** argv, Settings& s) {
  if (argc < 2) return false;
  s.suite = argv[1];
  bool shipped = false;
  for (int i = 2; i < argc; ++i) {
    const std::string key = argv[i];
    if (key == "--shipped") {
      shipped = true;
      continue;
    }
    if (++i == argc) return false;
    const std::string value = argv[i];
    const auto number = std::strtoull(argv[i], nullptr, 10);
    if (key == "--states") s.plan.states = number;
    else if (key == "--seed") s.plan.seed = number;
    else if (key == "--only") s.plan.only = value;
    else if (key == "--draws") s.plan.draws = number;
    else if (key == "--call") s.call = number;
    else if (key == "--every") s.every = std::max(1ull, number);
    else if (key == "--case") s.one_case = value;
    else if (key == "--jobs") s.jobs = std::max(1u, static_cast<unsigned>(number));
    else return false;
  }
  if (shipped) s.plan.only += " --shipped";
  if (!s.plan.only.empty() || !s.one_case.empty() || s.call != 0) s.jobs = 1;
  return s.suite == "states" || s.suite == "faults" || s.suite == "damage";
}

CrashTally work(const Settings& s, unsigned part, const std::string& program) {
  if (s.suite == "faults") return s.call != 0 ? try_faults(s.call, 1, s.call, program) : try_faults(part + 1, s.jobs * s.every, ~0ull, program);
  if (s.suite == "damage")
    return s.one_case.empty() ? try_damage(part, s.jobs, program)
                              : try_damage(static_cast<unsigned>(std::strtoul(s.one_case.c_str(), nullptr, 10)), std::numeric_limits<unsigned>::max(), program);
  CrashPlan plan = s.plan;
  plan.part = part;
  plan.parts = s.jobs;
  return try_crash_states(plan, program);
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  if (!read(argc, argv, settings)) {
    std::fprintf(stderr, "usage: crash_tests states|faults|damage [--states N] [--seed S] [--only WORKLOAD [--shipped]] [--draws N]\n"
                         "                   [--call N] [--every N] [--case N] [--jobs J]\n");
    return 2;
  }
  const auto begin = std::chrono::steady_clock::now();
  int ends[2];
  if (::pipe(ends) != 0) return 1;
  for (unsigned part = 0; part < settings.jobs; ++part) {
    const pid_t pid = ::fork();
    if (pid < 0) return 1;
    if (pid != 0) continue;
    const CrashTally tally = work(settings, part, argv[0]);
    const bool told = ::write(ends[1], &tally, sizeof tally) == sizeof tally;
    std::fflush(stdout);
    ::_exit(told ? 0 : 1);
  }
  bool died = false;
  for (unsigned part = 0; part < settings.jobs; ++part) {
    int status = 0;
    if (::wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      died = true;
      std::printf("FAIL crash_tests %s: a part of it ended with status %d\n", settings.suite.c_str(), status);
    }
  }
  ::close(ends[1]);
  CrashTally sum, tally;
  while (::read(ends[0], &tally, sizeof tally) == sizeof tally) {
    sum.workloads += tally.workloads;
    sum.states += tally.states;
    sum.failures += tally.failures;
  }
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - begin).count();
  const bool good = !died && sum.failures == 0 && sum.states > 0;
  std::printf("%s %s: %llu tried in %llu workloads, %llu failures, %lld s, seed %llu\n", good ? "ok" : "FAIL", settings.suite.c_str(),
              static_cast<unsigned long long>(sum.states), static_cast<unsigned long long>(sum.workloads),
              static_cast<unsigned long long>(sum.failures), static_cast<long long>(seconds), static_cast<unsigned long long>(settings.plan.seed));
  return good ? 0 : 1;
}
