// The model test: random operations on the file system under test and on a plain folder, side by side.
//
//   model_test --dir DIRECTORY [--plain DIRECTORY] [--seed S] [--operations N] [--check-every N]
//              [--hook COMMAND] [--hook-every N] [--replay FILE] [--keep FILE]
//
// What each operation returned must be equal, and every --check-every operations the whole trees. With --hook, every
// --hook-every operations all handles are closed and `COMMAND remount`, `COMMAND drop` or `COMMAND kill` is run (by
// turns); the trees must be equal afterwards (before a kill an fsync of the folder makes what came before it durable).
// A failing program is shrunk by delta debugging, each try in folders and a process of its own, and left as a file of
// one operation a line, for --replay. Exit 0: equal; 1: not; 2: wrong usage.
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>

#include "tests/model/operations.h"

namespace model {
namespace {

struct Settings {
  std::string directory, plain = "/var/tmp", hook, replay, keep;
  std::uint64_t seed = 1, operations = 10'000, check_every = 250, hook_every = 2000;
  int tries = 0;
};

bool is_hook(const Operation& op) { return op.kind == "remount" || op.kind == "drop" || op.kind == "kill"; }

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
  {
    Side tested(settings.directory + label), plain(settings.plain + label);
    for (after = 0; after < program.size() && problem.empty();) {
      const Operation& op = program[after];
      if (is_hook(op)) {
        tested.close_all();
        plain.close_all();
        if (op.kind == "kill") {
          int fd = ::open(settings.directory.c_str(), O_RDONLY | O_DIRECTORY);
          if (fd < 0 || ::fsync(fd) != 0) problem = "    the folder cannot be flushed\n";
          if (fd >= 0) ::close(fd);
        }
        if (problem.empty() && ::system((settings.hook + " " + op.kind).c_str()) != 0) problem = "    the hook failed: " + op.kind + "\n";
        if (problem.empty()) problem = compare_trees(tested, plain);
      } else {
        std::string left = tested.perform(op), right = plain.perform(op);
        if (left != right) problem = "    tested: " + left + "\n    plain:  " + right + "\n";
      }
      ++after;
      if (problem.empty() && (after % settings.check_every == 0 || after == program.size())) problem = compare_trees(tested, plain);
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
  std::string text;
  std::size_t after = 0;
};
Outcome try_program(const Settings& settings, const std::vector<Operation>& program, unsigned seconds) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) std::abort();  // a hook may leave a daemon behind
  pid_t pid = ::fork();
  if (pid == 0) {
    ::close(ends[0]);
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
  const std::string label = "/model-" + std::to_string(pid);
  if (!WIFEXITED(status)) {
    remove_tree(settings.plain + label);
    remove_tree(settings.directory + label);
    return {true, "    the program hung or died: signal " + std::to_string(WTERMSIG(status)) + "\n", program.size()};
  }
  Outcome outcome;
  outcome.failed = WEXITSTATUS(status) != 0;
  std::size_t line = message.find('\n');
  outcome.after = std::strtoull(message.c_str(), nullptr, 10);
  if (line != std::string::npos) outcome.text = message.substr(line + 1);
  return outcome;
}

/// Zeller's delta debugging, bounded in time: smaller and smaller pieces are left out while the rest still fails.
std::vector<Operation> shrink(Settings settings, std::vector<Operation> program, std::string& text) {
  settings.check_every = std::min<std::uint64_t>(settings.check_every, 25);
  const time_t end = ::time(nullptr) + 60;
  std::size_t piece = std::max<std::size_t>(program.size() / 2, 1);
  while (::time(nullptr) < end) {
    bool smaller = false;
    for (std::size_t at = 0; at < program.size() && ::time(nullptr) < end;) {
      std::vector<Operation> rest(program.begin(), program.begin() + static_cast<std::ptrdiff_t>(at));
      if (at + piece < program.size()) rest.insert(rest.end(), program.begin() + static_cast<std::ptrdiff_t>(at + piece), program.end());
      Outcome outcome = rest.empty() ? Outcome{} : try_program(settings, rest, 60);
      if (outcome.failed) {
        rest.resize(std::min(rest.size(), outcome.after));
        program = rest;
        text = outcome.text;
        smaller = true;
      } else {
        at += piece;
      }
    }
    if (piece == 1 && !smaller) break;
    if (!smaller || piece > program.size()) piece = std::max<std::size_t>(std::min(piece, program.size()) / 2, 1);
  }
  return program;
}

std::vector<Operation> make_program(const Settings& settings) {
  std::vector<Operation> program;
  static const char* const hooks[] = {"remount", "drop", "kill"};
  for (std::uint64_t n = 0; n < settings.operations; ++n) {
    if (!settings.hook.empty() && n % settings.hook_every == settings.hook_every - 1) {
      program.push_back(Operation{hooks[n / settings.hook_every % 3], 0, 0, 0, 0, 0});
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
    program = shrink(settings, program, text);
  }
  const std::string file = settings.keep.empty() ? "/tmp/model-" + std::to_string(settings.seed) + ".ops" : settings.keep;
  std::ofstream out(file);
  for (const Operation& op : program) {
    out << to_text(op) << "\n";
    if (program.size() <= 40) std::cout << "    | " << to_text(op) << "\n";
  }
  std::cout << "    shrunk to " << program.size() << " operations:\n" << text << "    repeat: " << self << " --dir DIRECTORY --check-every 1 --replay "
            << file << std::endl;
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
    else settings.directory.clear();
  }
  if (settings.directory.empty() || argc % 2 == 0) {
    std::cerr << "usage: model_test --dir DIRECTORY [--plain DIRECTORY] [--seed S] [--operations N] [--check-every N]\n"
                 "                  [--hook COMMAND] [--hook-every N] [--replay FILE] [--keep FILE]\n";
    return 2;
  }
  ::umask(022);
  ::signal(SIGPIPE, SIG_IGN);
  return model::run(settings, argv[0]);
}
