// atoll_sim: whole systems in virtual time. One seed replays one run.
//
//   atoll_sim --seed N [--days D] [--nodes M] [--losses] [--trace]   one run; its report, its trace if wanted
//   atoll_sim --seed N --forks [--trace]                  several computers and one drive
//   atoll_sim --seeds FIRST-LAST [--jobs J] [--days D] [--nodes M]   many, each in a process of its own
//   atoll_sim --seed N --twice                            runs it in two processes and compares their traces
//   atoll_sim --seed N --editor-day [--requests-max R]    counts the requests of a day of small saves; fails if a node sees more
//   --rate-min DAYS                                       fail if an hour of processor time simulates fewer
//
// A failed run prints `FAIL seed N: WHY` and the command that repeats it. Exits with 0 if all passed.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <map>
#include <optional>

#include "tests/sim/editor_day.h"
#include "tests/sim/forks.h"
#include "tests/sim/simulation.h"

namespace {

using namespace atl::sim;

std::string g_program;

std::string replay(const RunOptions& options) {
  std::string text = g_program + " --seed " + std::to_string(options.seed);
  if (options.days != 0) text += " --days " + std::to_string(options.days);
  if (options.nodes != 0) text += " --nodes " + std::to_string(options.nodes);
  if (options.losses) text += " --losses";
  if (options.forks) text += " --forks";
  return text;
}

void print_failure(const RunOptions& options, const std::string& why) {
  std::printf("FAIL seed %llu: %s\n  repeat: %s --trace\n", static_cast<unsigned long long>(options.seed), why.c_str(), replay(options).c_str());
  std::fflush(stdout);
}

/// What one run's process tells the one that started it.
struct Told {
  bool passed = false;
  std::uint64_t hash = 0;
  std::uint64_t events = 0;
  double simulated_seconds = 0;
  std::uint64_t operations = 0;
  std::uint64_t reads = 0;
  std::uint64_t reads_failed = 0;
  std::uint64_t protections = 0;
  std::uint64_t strikes = 0;
  std::uint64_t nodes = 0;
};

struct Child {
  RunOptions options;
  int pipe = -1;
};

/// Starts a run in a process of its own, which a run that never ends does not outlive by much.
std::pair<pid_t, Child> start(const RunOptions& options, unsigned seconds_max) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("no process");
  if (child == 0) {
    ::close(ends[0]);
    ::alarm(seconds_max);
    const RunReport report = options.forks ? simulate_forks(options) : simulate(options);
    if (!report.passed) print_failure(options, report.why);
    const Told told{report.passed, report.hash, report.events, report.simulated_seconds, report.operations, report.reads,
                    report.reads_failed, report.protections, report.strikes, report.nodes};
    const bool written = ::write(ends[1], &told, sizeof told) == sizeof told;
    std::fflush(stdout);
    ::_exit(report.passed && written ? 0 : 1);
  }
  ::close(ends[1]);
  return {child, {options, ends[0]}};
}

std::optional<Told> finish(const Child& child, int status) {
  Told told;
  const bool whole = ::read(child.pipe, &told, sizeof told) == sizeof told;
  ::close(child.pipe);
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    print_failure(child.options, signal == SIGALRM ? "it did not end" : "it was ended by signal " + std::to_string(signal));
    return std::nullopt;
  }
  if (!whole || !told.passed) return std::nullopt;
  return told;
}

/// Seconds of processor time that all runs that have ended took.
double processor_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_CHILDREN, &used);
  return static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}

int run_many(std::uint64_t first, std::uint64_t last, RunOptions options, std::size_t jobs, unsigned seconds_max, double rate_min) {
  std::map<pid_t, Child> running;
  std::uint64_t next = first;
  std::size_t failed = 0;
  Told sum;
  const auto began = std::chrono::steady_clock::now();
  while (next <= last || !running.empty()) {
    while (next <= last && running.size() < jobs) {
      options.seed = next++;
      running.insert(start(options, seconds_max));
    }
    int status = 0;
    const pid_t ended = ::wait(&status);
    const auto child = running.find(ended);
    if (child == running.end()) continue;
    if (const auto told = finish(child->second, status)) {
      sum.simulated_seconds += told->simulated_seconds;
      sum.operations += told->operations;
      sum.reads += told->reads;
      sum.reads_failed += told->reads_failed;
      sum.protections += told->protections;
      sum.strikes += told->strikes;
      sum.nodes = std::max(sum.nodes, told->nodes);
    } else {
      ++failed;
    }
    running.erase(child);
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  const double days = sum.simulated_seconds / 86'400;
  const double rate = days / processor_seconds() * 3600;
  std::printf("%llu seeds, %zu failed; %.1f virtual days in %.1f s (%.0f days an hour, %.0f an hour of one processor), up to %llu nodes, %llu operations, %llu reads (%llu "
              "failed while nodes were away), %llu times protected, %llu blows\n",
              static_cast<unsigned long long>(last - first + 1), failed, days, seconds, days / seconds * 3600, rate,
              static_cast<unsigned long long>(sum.nodes), static_cast<unsigned long long>(sum.operations),
              static_cast<unsigned long long>(sum.reads), static_cast<unsigned long long>(sum.reads_failed),
              static_cast<unsigned long long>(sum.protections), static_cast<unsigned long long>(sum.strikes));
  if (rate < rate_min) std::printf("FAIL that is too slow: %.0f days an hour of one processor are wanted\n", rate_min);
  return failed == 0 && rate >= rate_min ? 0 : 1;
}

int run_twice(const RunOptions& options, unsigned seconds_max) {
  std::optional<Told> told[2];
  for (auto& one : told) {
    const auto [pid, child] = start(options, seconds_max);
    int status = 0;
    if (::waitpid(pid, &status, 0) != pid) return 1;
    one = finish(child, status);
    if (!one) return 1;
  }
  if (told[0]->hash != told[1]->hash || told[0]->events != told[1]->events) {
    print_failure(options, "two runs differ");
    return 1;
  }
  std::printf("seed %llu: %llu events, twice the same, %016llx\n", static_cast<unsigned long long>(options.seed),
              static_cast<unsigned long long>(told[0]->events), static_cast<unsigned long long>(told[0]->hash));
  return 0;
}

int run_editor_day(std::uint64_t seed, std::uint64_t requests_max) {
  const EditorDay day = simulate_editor_day(seed);
  std::printf("%llu saves in 8 hours, then 16 idle hours: at most %llu requests to a node (", static_cast<unsigned long long>(day.saves),
              static_cast<unsigned long long>(day.requests));
  const char* separator = "";
  for (const auto& [kind, count] : day.of_that_node) {
    std::printf("%s%s %llu", separator, kind.c_str(), static_cast<unsigned long long>(count));
    separator = ", ";
  }
  std::printf("), a save protected after %.0f s at most\n", day.longest_s);
  if (requests_max == 0 || day.requests < requests_max) return 0;
  std::printf("FAIL fewer than %llu are promised\n", static_cast<unsigned long long>(requests_max));
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  g_program = argv[0];
  CLI::App app{"Simulates whole systems in virtual time"};
  RunOptions options;
  std::string seeds;
  std::size_t jobs = 2;
  unsigned seconds_max = 0;
  bool twice = false;
  bool editor_day = false;
  std::uint64_t requests_max = 0;
  double rate_min = 0;
  app.add_option("--seed", options.seed, "the run");
  app.add_option("--seeds", seeds, "many runs, FIRST-LAST");
  app.add_option("--days", options.days, "virtual days at least, in place of under an hour");
  app.add_option("--nodes", options.nodes, "in place of what the seed says");
  app.add_flag("--losses", options.losses, "ten rounds of losing as many nodes as may be lost, with care between");
  app.add_flag("--forks", options.forks, "several computers that recover and take over one drive; the seed modulo 4 says how");
  app.add_flag("--editor-day", editor_day, "count what a day of small saves asks of a node");
  app.add_option("--requests-max", requests_max, "fail if a node is asked so often or oftener");
  app.add_option("--jobs", jobs, "processes at once")->check(CLI::Range(1, 64));
  app.add_option("--seconds-max", seconds_max, "a run that takes longer has failed");
  app.add_flag("--trace", options.trace, "print every event");
  app.add_option("--rate-min", rate_min, "virtual days that an hour of one processor must simulate");
  app.add_flag("--twice", twice, "run it twice and compare");
  CLI11_PARSE(app, argc, argv);
  if (seconds_max == 0) seconds_max = options.days == 0 ? 900 : 7 * 86'400;
  try {
    if (!seeds.empty()) {
      const auto dash = seeds.find('-');
      const std::uint64_t first = std::stoull(seeds);
      const std::uint64_t last = dash == std::string::npos ? first : std::stoull(seeds.substr(dash + 1));
      return run_many(first, last, options, jobs, seconds_max, rate_min);
    }
    if (editor_day) return run_editor_day(options.seed, requests_max);
    if (twice) return run_twice(options, seconds_max);
    return run_many(options.seed, options.seed, options, 1, seconds_max, rate_min);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "atoll_sim: %s\n", problem.what());
    return 2;
  }
}
