// The model test: random operations on the file system under test and on a plain folder, side by side.
//
//   model_test --dir DIRECTORY [--plain DIRECTORY] [--seed S] [--operations N] [--check-every N]
//              [--hook COMMAND] [--hook-every N] [--replay FILE] [--keep FILE] [--repeat COMMAND]
//
// What each operation returned must be equal, and every --check-every operations the whole trees. With --hook, every
// --hook-every operations `COMMAND KIND NUMBER` is run, the kinds by turns: remount, drop (what is cached here), kill (an
// fsync of the folder makes what came before durable), lose (nodes, as many as may be), found (they are back). The trees
// must be equal afterwards. Handles are closed before those that end the mount.
// A failing program is shrunk by delta debugging, each try in folders and a process of its own, left as a file of one
// operation a line, for --replay, and printed as a script that repeats it (--repeat: the command of its last line, with
// FILE for that file). Exit 0: equal; 1: not; 2: wrong usage.
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>

#include "tests/model/operations.h"

namespace model {
namespace {

struct Settings {
  std::string directory, plain = "/var/tmp", hook, replay, keep, repeat;
  std::uint64_t seed = 1, operations = 10'000, check_every = 250, hook_every = 2000;
  std::uint64_t check_from = 0;  // the trees are not compared before so many operations
};

// What was lost is found again before copies here are dropped, which needs all nodes.
const char* const hooks[] = {"remount", "drop", "kill", "lose", "kill", "remount", "found"};
bool is_hook(const Operation& op) { return std::find(std::begin(hooks), std::end(hooks), op.kind) != std::end(hooks); }
bool ends_mount(const Operation& op) { return op.kind == "remount" || op.kind == "kill"; }

int remove_entry(const char* path, const struct stat*, int, struct FTW*) { return ::remove(path); }
void remove_tree(const std::string& path) { ::nftw(path.c_str(), remove_entry, 64, FTW_DEPTH | FTW_PHYS); }

/// How the two sides differ; empty if not.
std::string compare_trees(Side& tested, Side& plain) {
  std::vector<std::string> a = tested.describe(), b = plain.describe();
  for (std::size_t i = 0; i < a.size() || i < b.size(); ++i) {
    const std::string left = i < a.size() ? a[i] : "(nothing)", right = i < b.size() ? b[i] : "(nothing)";
    if (left != right) return "    tested: " + left + "\n    plain:  " + right + "\n";
  }
  return "";
}

/// Runs a program in fresh folders; `after` is the number of operations performed when the difference showed.
std::string run_program(const Settings& settings, const std::vector<Operation>& program, std::size_t& after) {
  const std::string label = "/model-" + std::to_string(::getpid());
  remove_tree(settings.plain + label);
  remove_tree(settings.directory + label);
  std::string problem;
  const auto hook = [&](const Operation& op) { return ::system((settings.hook + " " + op.kind + " " + std::to_string(op.seed)).c_str()) == 0; };
  if (!settings.hook.empty() && !hook(Operation{"found", 0, 0, 0, 0, 0})) return "    the hook failed at the beginning\n";
  {
    Side tested(settings.directory + label), plain(settings.plain + label);
    for (after = 0; after < program.size() && problem.empty();) {
      const Operation& op = program[after];
      if (is_hook(op)) {
        if (ends_mount(op)) {
          tested.close_all();
          plain.close_all();
        }
        if (op.kind == "kill") {
          int fd = ::open(settings.directory.c_str(), O_RDONLY | O_DIRECTORY);
          if (fd < 0 || ::fsync(fd) != 0) problem = "    the folder cannot be flushed\n";
          if (fd >= 0) ::close(fd);
        }
        if (problem.empty() && !hook(op)) problem = "    the hook failed: " + op.kind + "\n";
        if (problem.empty() && after + 1 >= settings.check_from) problem = compare_trees(tested, plain);
      } else {
        std::string left = tested.perform(op), right = plain.perform(op);
        if (left != right) problem = "    tested: " + left + "\n    plain:  " + right + "\n";
      }
      ++after;
      const bool due = after >= settings.check_from && after % settings.check_every == 0;
      if (problem.empty() && (due || after == program.size())) problem = compare_trees(tested, plain);
    }
    if (!problem.empty() && after > 0) problem = "    " + to_text(program[after - 1]) + "\n" + problem;
  }
  remove_tree(settings.plain + label);
  remove_tree(settings.directory + label);
  return problem;
}

/// In a child, which a hang or a crash ends: whether the program fails, what it says, and how far it came.
struct Outcome {
  bool failed = false;
  bool hung = false;
  std::string text;
  std::size_t after = 0;
};
Outcome try_program(const Settings& settings, const std::vector<Operation>& program, unsigned seconds) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) std::abort();  // a hook may leave a daemon behind
  pid_t pid = ::fork();
  if (pid == 0) {
    ::close(ends[0]);
    ::setpgid(0, 0);
    ::alarm(seconds);
    std::size_t after = 0;
    std::string problem = run_program(settings, program, after);
    std::string message = std::to_string(after) + "\n" + problem;
    if (::write(ends[1], message.data(), message.size()) < 0) ::_exit(3);
    ::_exit(problem.empty() ? 0 : 1);
  }
  ::close(ends[1]);
  std::string message;
  char buffer[4096];
  for (ssize_t got; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;) message.append(buffer, static_cast<std::size_t>(got));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  ::kill(-pid, SIGKILL);  // a hook that it waited for; none is left otherwise
  const std::string label = "/model-" + std::to_string(pid);
  if (!WIFEXITED(status)) {
    remove_tree(settings.plain + label);
    remove_tree(settings.directory + label);
    return {true, true, "    the program hung or died: signal " + std::to_string(WTERMSIG(status)) + "\n", program.size()};
  }
  Outcome outcome;
  outcome.failed = WEXITSTATUS(status) != 0;
  std::size_t line = message.find('\n');
  outcome.after = std::strtoull(message.c_str(), nullptr, 10);
  if (line != std::string::npos) outcome.text = message.substr(line + 1);
  return outcome;
}

/// Zeller's and Hildebrandt's ddmin, bounded in time. The trees are compared once, behind the last operation: that makes a
/// try as cheap as its operations.
class Shrinker {
 public:
  Shrinker(Settings settings, std::vector<Operation> program, bool hung, std::string text)
      : settings_(std::move(settings)), program_(std::move(program)), hung_(hung), text_(std::move(text)), end_(::time(nullptr) + 300) {}

  void run() {
    find_end();
    settings_.check_from = ~0ull;
    leave_out_hooks();
    keep_related();
    ddmin();
  }
  const std::vector<Operation>& program() const { return program_; }
  const std::string& text() const { return text_; }

 private:
  bool late() const { return ::time(nullptr) >= end_; }

  bool adopt(std::vector<Operation> rest) {
    if (rest.empty() || rest.size() > program_.size()) return false;
    const Outcome outcome = try_program(settings_, rest, 120);
    if (!outcome.failed || outcome.hung != hung_) return false;  // a slow machine must not turn one failure into another
    rest.resize(std::min(rest.size(), outcome.after));
    program_ = std::move(rest);
    text_ = outcome.text;
    return true;
  }

  /// The trees differ since some operation before the comparison that found it: compared after each of the last ones.
  void find_end() {
    settings_.check_from = program_.size() > settings_.check_every ? program_.size() - settings_.check_every : 0;
    settings_.check_every = 1;
    (void)adopt(program_);
  }

  /// Hooks take most of the time: first it is tried without them, then with one of them alone, the last first.
  void leave_out_hooks() {
    const auto hooked = static_cast<std::size_t>(std::count_if(program_.begin(), program_.end(), is_hook));
    for (std::size_t kept = hooked + 1; hooked > 0 && kept-- > 0 && !late();) {
      std::vector<Operation> rest;
      std::size_t seen = 0;
      for (const Operation& op : program_)
        if (!is_hook(op) || seen++ == kept) rest.push_back(op);  // the first try keeps none
      if (rest.size() < program_.size() && adopt(std::move(rest))) break;
    }
  }

  /// Mostly it is the last operation's paths and handles that matter, or what touched these.
  void keep_related() {
    for (const int rounds : {0, 1, 2}) {
      std::vector<bool> wanted(1000, false);
      const auto want = [&](const Operation& op) {
        for (const unsigned index : {op.a, op.b})
          if (index < wanted.size()) wanted[index] = true;
      };
      const auto touches = [&](const Operation& op) { return (op.a < wanted.size() && wanted[op.a]) || (op.b < wanted.size() && wanted[op.b]); };
      want(program_.back());
      for (int round = 0; round < rounds; ++round) {
        const std::vector<bool> before = wanted;
        for (const Operation& op : program_)
          if ((op.a < before.size() && before[op.a]) || (op.b < before.size() && before[op.b])) want(op);
      }
      std::vector<Operation> rest;
      std::copy_if(program_.begin(), program_.end(), std::back_inserter(rest), [&](const Operation& op) { return is_hook(op) || touches(op); });
      if (late() || (rest.size() < program_.size() && adopt(std::move(rest)))) return;
    }
  }

  void ddmin() {
    std::size_t pieces = 2;
    while (program_.size() > 1 && !late()) {
      bool smaller = false;
      // From the end: what stands long before the failure is mostly what it needs.
      for (std::size_t piece = pieces; piece-- > 0 && !late();) {
        const std::size_t from = program_.size() * piece / pieces, to = program_.size() * (piece + 1) / pieces;
        std::vector<Operation> rest(program_.begin(), program_.begin() + static_cast<std::ptrdiff_t>(from));
        rest.insert(rest.end(), program_.begin() + static_cast<std::ptrdiff_t>(to), program_.end());
        if (from == to || !adopt(std::move(rest))) continue;
        smaller = true;
        pieces = std::max<std::size_t>(pieces - 1, 2);
        piece = std::min(piece, pieces);
      }
      if (smaller) continue;
      if (pieces >= program_.size()) return;  // no single operation can be left out
      pieces = std::min(pieces * 2, program_.size());
    }
  }

  Settings settings_;
  std::vector<Operation> program_;
  const bool hung_;
  std::string text_;
  const time_t end_;
};

std::vector<Operation> make_program(const Settings& settings) {
  std::vector<Operation> program;
  for (std::uint64_t n = 0; n < settings.operations; ++n) {
    if (!settings.hook.empty() && n % settings.hook_every == settings.hook_every - 1) {
      program.push_back(Operation{hooks[n / settings.hook_every % std::size(hooks)], 0, 0, 0, 0, n / settings.hook_every});
    }
    program.push_back(random_operation(settings.seed, n));
  }
  return program;
}

std::vector<Operation> read_program(const std::string& file) {
  std::ifstream in(file);
  std::vector<Operation> program;
  for (std::string line; std::getline(in, line);) {
    Operation op;
    if (!line.empty() && line[0] != '#' && from_text(line, op)) program.push_back(op);
  }
  return program;
}

int run(const Settings& settings, const char* self) {
  std::vector<Operation> program = settings.replay.empty() ? make_program(settings) : read_program(settings.replay);
  if (program.empty()) {
    std::cerr << "no operations in " << settings.replay << "\n";
    return 2;
  }
  Outcome outcome = try_program(settings, program, 1800);
  const std::string title = "model: " + std::to_string(program.size()) + " operations, seed " + std::to_string(settings.seed);
  if (!outcome.failed) {
    std::cout << "ok " << title << std::endl;
    return 0;
  }
  std::cout << "FAIL " << title << ", after " << outcome.after << ":\n" << outcome.text;
  program.resize(std::min(program.size(), outcome.after));
  std::string text = outcome.text;
  if (settings.replay.empty()) {
    std::cout << "    repeat: " << self << " --dir DIRECTORY --seed " << settings.seed << " --operations " << program.size()
              << " --check-every " << settings.check_every << std::endl;
    Shrinker shrinker(settings, program, outcome.hung, text);
    shrinker.run();
    program = shrinker.program();
    text = shrinker.text();
  }
  const std::string file = settings.keep.empty() ? "/tmp/model-" + std::to_string(settings.seed) + ".ops" : settings.keep;
  std::ofstream out(file);
  for (const Operation& op : program) out << to_text(op) << "\n";
  out.close();
  std::cout << "    shrunk to " << program.size() << " operations:\n" << text << "    repeat it with this script:\n";
  std::string repeat = settings.repeat.empty() ? std::string(self) + " --dir DIRECTORY --check-every 1000000000 --replay FILE" : settings.repeat;
  if (const std::size_t at = repeat.find("FILE"); at != std::string::npos) repeat.replace(at, 4, file);
  if (program.size() <= 100) {
    std::cout << "cat >" << file << " <<'END'\n";
    for (const Operation& op : program) std::cout << to_text(op) << "\n";
    std::cout << "END\n";
  }
  std::cout << repeat << std::endl;
  return 1;
}

}  // namespace
}  // namespace model

int main(int argc, char** argv) {
  model::Settings settings;
  if (const char* directory = std::getenv("ATOLL_TEST_DIR")) settings.directory = directory;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string key = argv[i], value = argv[i + 1];
    if (key == "--dir") settings.directory = value;
    else if (key == "--plain") settings.plain = value;
    else if (key == "--seed") settings.seed = std::strtoull(value.c_str(), nullptr, 10);
    else if (key == "--operations") settings.operations = std::strtoull(value.c_str(), nullptr, 10);
    else if (key == "--check-every") settings.check_every = std::max(1ull, std::strtoull(value.c_str(), nullptr, 10));
    else if (key == "--hook") settings.hook = value;
    else if (key == "--hook-every") settings.hook_every = std::max(1ull, std::strtoull(value.c_str(), nullptr, 10));
    else if (key == "--replay") settings.replay = value;
    else if (key == "--keep") settings.keep = value;
    else if (key == "--repeat") settings.repeat = value;
    else settings.directory.clear();
  }
  if (settings.directory.empty() || argc % 2 == 0) {
    std::cerr << "usage: model_test --dir DIRECTORY [--plain DIRECTORY] [--seed S] [--operations N] [--check-every N]\n"
                 "                  [--hook COMMAND] [--hook-every N] [--replay FILE] [--keep FILE] [--repeat COMMAND]\n";
    return 2;
  }
  ::umask(022);
  ::signal(SIGPIPE, SIG_IGN);
  return model::run(settings, argv[0]);
}
