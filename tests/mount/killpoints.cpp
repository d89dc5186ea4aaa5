// The parts of killpoints.sh that a shell cannot do.
//
//   mount_killpoints trace N GO REPORT COMMAND...   runs COMMAND under ptrace and kills it on entering its N-th system call
//                                                   since the file GO exists, over all its threads; calls that only wait,
//                                                   map memory or tell the time do not count. N = 0 kills never. REPORT
//                                                   gets `killed CALL`, by its number, or `ended COUNT`. SIGTERM: kills it
//                                                   now. Exit 3: ptrace is not allowed
//   mount_killpoints work WORKLOAD FOLDER LOG GO    prepares FOLDER, makes GO, then performs the workload until its end or
//                                                   until the file system dies; LOG says how far it came
//   mount_killpoints check WORKLOAD FOLDER LOG PLAIN   whether FOLDER holds the tree as it was after some step: none before
//                                                   the last that a flush acknowledged, none that had not begun. PLAIN is
//                                                   an empty folder of an ordinary file system, to perform the steps in
//   mount_killpoints list                           the workloads
//
// `ATOLL` names the program that the step "sync" runs. With `KILL_STEP=N KILL_PID=P` work kills P after its N-th step.
// Exit 0, 1 (not so), 2 (usage, or the machine).
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

// --- killing ---------------------------------------------------------------------------------------------------------

bool counts(std::uint64_t call) {
  static const std::set<std::uint64_t> silent = {
      SYS_futex, SYS_clock_gettime, SYS_clock_nanosleep, SYS_nanosleep, SYS_mmap, SYS_munmap, SYS_mprotect, SYS_madvise, SYS_brk,
      SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sched_yield, SYS_gettid, SYS_getpid, SYS_epoll_wait, SYS_poll,
      SYS_ppoll, SYS_restart_syscall, SYS_set_robust_list, SYS_rseq, SYS_arch_prctl, SYS_getrandom, SYS_mlock, SYS_munlock, SYS_sysinfo};
  return !silent.contains(call);
}

pid_t traced = 0;
void end_traced(int) { ::kill(traced, SIGKILL); }

int trace(std::uint64_t nth, const std::string& go, const std::string& report, char** command) {
  const pid_t child = ::fork();
  if (child < 0) return 2;
  if (child == 0) {
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(3);
    ::raise(SIGSTOP);
    ::execvp(command[0], command);
    ::_exit(127);
  }
  int status = 0;
  if (::waitpid(child, &status, 0) < 0) return 2;
  if (!WIFSTOPPED(status)) return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
  const long options = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC;
  if (::ptrace(PTRACE_SETOPTIONS, child, nullptr, options) != 0) {
    ::kill(child, SIGKILL);
    return 3;
  }
  traced = child;
  ::signal(SIGTERM, end_traced);
  std::uint64_t count = 0, last = 0;
  bool going = false, killed = false;
  ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
  for (;;) {
    const pid_t thread = ::waitpid(-1, &status, __WALL);
    if (thread < 0 && errno == EINTR) continue;
    if (thread < 0) break;
    if (!WIFSTOPPED(status)) {
      if (thread == child) break;
      continue;
    }
    int signal = WSTOPSIG(status);
    if (signal == (SIGTRAP | 0x80)) {
      __ptrace_syscall_info info{};
      signal = 0;
      if (::ptrace(static_cast<__ptrace_request>(PTRACE_GET_SYSCALL_INFO), thread, sizeof info, &info) > 0 && info.op == PTRACE_SYSCALL_INFO_ENTRY &&
          counts(info.entry.nr)) {
        going = going || ::access(go.c_str(), F_OK) == 0;
        if (going && !killed && ++count == nth) {
          last = info.entry.nr;
          killed = ::kill(child, SIGKILL) == 0;
          continue;
        }
      }
    } else if (signal == SIGTRAP || signal == SIGSTOP) {
      signal = 0;  // news of threads and programs
    }
    ::ptrace(PTRACE_SYSCALL, thread, nullptr, static_cast<long>(signal));
  }
  std::ofstream(report) << (killed ? "killed " : "ended ") << (killed ? last : count) << "\n";
  return 0;
}

// --- what is done ----------------------------------------------------------------------------------------------------

struct Step {
  std::string name;
  bool flush = false;           // acknowledges all before it
  std::function<bool(const std::string& folder)> act;
  std::size_t pieces = 1;       // of a write that the kernel may hand over in part
  std::function<bool(const std::string& folder, std::size_t piece)> piece;
};

std::string bytes_of(unsigned seed, std::size_t count) {
  std::string text(count, '\0');
  std::uint32_t x = seed * 2654435761u + 1;
  for (char& c : text) {
    x = x * 1664525u + 1013904223u;
    c = static_cast<char>(x >> 24);
  }
  return text;
}

constexpr std::size_t page = 4096;

bool write_at(const std::string& path, std::size_t offset, const std::string& bytes, int flags = 0) {
  const int fd = ::open(path.c_str(), O_WRONLY | flags);
  if (fd < 0) return false;
  const bool whole = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)) == static_cast<ssize_t>(bytes.size());
  return (::close(fd) == 0) && whole;
}

/// Opens, writes, closes; the file is there.
Step write(std::string name, std::size_t offset, unsigned seed, std::size_t count, int flags = 0) {
  Step step;
  step.name = "write " + name;
  step.flush = flags != 0;
  step.act = [=](const std::string& folder) { return write_at(folder + "/" + name, offset, bytes_of(seed, count), flags); };
  const std::size_t head = page - offset % page;  // bytes of the first page
  step.pieces = count <= head ? 1 : 1 + (count - head + page - 1) / page;
  step.piece = [=](const std::string& folder, std::size_t number) {
    const std::size_t from = number == 0 ? 0 : head + (number - 1) * page;
    const std::size_t to = std::min(count, head + number * page);
    return write_at(folder + "/" + name, offset + from, bytes_of(seed, count).substr(from, to - from));
  };
  return step;
}

Step act(std::string name, std::function<bool(const std::string&)> what) {
  Step step;
  step.name = std::move(name);
  step.act = std::move(what);
  return step;
}
Step create(std::string name) {
  return act("create " + name, [=](const std::string& folder) {
    const int fd = ::open((folder + "/" + name).c_str(), O_WRONLY | O_CREAT | O_EXCL, 0640);
    return fd >= 0 && ::close(fd) == 0;
  });
}
Step flush(std::string name) {
  Step step = act("fsync " + name, [=](const std::string& folder) {
    const int fd = ::open((folder + "/" + name).c_str(), O_RDONLY);
    if (fd < 0) return false;
    const bool done = ::fsync(fd) == 0;
    return ::close(fd) == 0 && done;
  });
  step.flush = true;
  return step;
}
Step two(std::string name, int (*call)(const char*, const char*), std::string from, std::string to) {
  return act(name + " " + from, [=](const std::string& folder) { return call((folder + "/" + from).c_str(), (folder + "/" + to).c_str()) == 0; });
}
Step one(std::string name, int (*call)(const char*), std::string path) {
  return act(name + " " + path, [=](const std::string& folder) { return call((folder + "/" + path).c_str()) == 0; });
}
Step resize(std::string name, off_t size) {
  return act("truncate " + name, [=](const std::string& folder) { return ::truncate((folder + "/" + name).c_str(), size) == 0; });
}
Step mark(std::string name, std::string value) {
  return act("setxattr " + name, [=](const std::string& folder) { return ::setxattr((folder + "/" + name).c_str(), "user.mark", value.data(), value.size(), 0) == 0; });
}
Step make_folder(std::string name) {
  return act("mkdir " + name, [=](const std::string& folder) { return ::mkdir((folder + "/" + name).c_str(), 0750) == 0; });
}
/// On the drive only: everything reaches the nodes.
Step sync_nodes() {
  Step step = act("sync", [](const std::string&) {
    const char* program = std::getenv("ATOLL");
    return program == nullptr || std::system((std::string(program) + " sync --timeout 60 >/dev/null 2>&1").c_str()) == 0;
  });
  step.flush = true;
  return step;
}

/// The workloads. Each finds the files a (9000 bytes), b (20,000) and d/e (5000), flushed.
const std::map<std::string, std::vector<Step>>& workloads() {
  static const std::map<std::string, std::vector<Step>> all = {
      {"save", {create("t"), write("t", 0, 1, 7000), flush("t"), two("rename", ::rename, "t", "a"), flush(".")}},
      {"database", {write("b", 4096, 2, 4096), flush("b"), write("b", 20'000, 3, 700), write("b", 0, 4, 100, O_DSYNC), resize("b", 12'000), flush("b")}},
      {"tree",
       {make_folder("n"), create("n/f"), two("link", ::link, "a", "n/g"), act("symlink l", [](const std::string& f) { return ::symlink("over there", (f + "/l").c_str()) == 0; }), two("rename", ::rename, "n", "m"),
        mark("a", "red"), one("unlink", ::unlink, "b"), act("chmod a", [](const std::string& f) { return ::chmod((f + "/a").c_str(), 0400) == 0; }),
        flush("."), one("unlink", ::unlink, "m/f"), two("rename", ::rename, "d/e", "m/g"), one("rmdir", ::rmdir, "d"), flush("m")}},
      {"large", {create("x"), write("x", 0, 5, 65'536), create("y"), write("y", 1000, 6, 40'000), flush("x"), write("x", 30'000, 7, 20'000), one("unlink", ::unlink, "y"), flush(".")}},
      {"nodes", {write("a", 0, 8, 9000), sync_nodes(), one("unlink", ::unlink, "b"), create("c"), write("c", 0, 9, 30'000), sync_nodes(), resize("c", 100), sync_nodes()}},
  };
  return all;
}

bool prepare(const std::string& folder) {
  if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) return false;
  const std::vector<Step> steps = {create("a"), write("a", 0, 11, 9000), create("b"), write("b", 0, 12, 20'000), make_folder("d"), create("d/e"), write("d/e", 0, 13, 5000), flush(".")};
  return std::ranges::all_of(steps, [&](const Step& step) { return step.act(folder); });
}

// --- what is there ---------------------------------------------------------------------------------------------------

void describe(const std::string& folder, const std::string& below, std::string& out) {
  DIR* open = ::opendir((folder + below).c_str());
  if (open == nullptr) {
    out += below + " cannot be listed: " + std::strerror(errno) + "\n";
    return;
  }
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(open))
    if (std::strcmp(entry->d_name, ".") != 0 && std::strcmp(entry->d_name, "..") != 0) names.emplace_back(entry->d_name);
  ::closedir(open);
  std::ranges::sort(names);
  for (const std::string& name : names) {
    const std::string path = folder + below + "/" + name;
    struct stat s {};
    std::ostringstream line;
    line << below << "/" << name;
    if (::lstat(path.c_str(), &s) != 0) {
      out += line.str() + " " + std::strerror(errno) + "\n";
      continue;
    }
    line << std::oct << " " << s.st_mode << std::dec;
    if (S_ISLNK(s.st_mode)) {
      char target[256];
      const ssize_t size = ::readlink(path.c_str(), target, sizeof target);
      line << " -> " << std::string(target, static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    } else if (S_ISREG(s.st_mode)) {
      char value[64];
      const ssize_t size = ::getxattr(path.c_str(), "user.mark", value, sizeof value);
      std::ifstream in(path, std::ios::binary);
      const std::string content((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
      line << " " << s.st_nlink << " " << s.st_size << " " << content.size() << " " << std::hash<std::string>()(content) << " "
           << std::string(value, static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    }
    out += line.str() + "\n";
    if (S_ISDIR(s.st_mode)) describe(folder, below + "/" + name, out);
  }
}
std::string tree_of(const std::string& folder) {
  std::string out;
  describe(folder, "", out);
  return out;
}

int work(const std::vector<Step>& steps, const std::string& folder, const std::string& log, const std::string& go) {
  if (!prepare(folder)) {
    std::perror("the workload cannot be prepared");
    return 2;
  }
  const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644);
  const auto note = [fd](char what, std::size_t number) {
    const std::string line = std::string(1, what) + " " + std::to_string(number) + "\n";
    return ::write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  };
  const int made = ::open(go.c_str(), O_WRONLY | O_CREAT, 0644);
  if (fd < 0 || made < 0) return 2;
  ::close(made);
  for (std::size_t i = 1; i <= steps.size(); ++i) {
    if (!note('b', i)) return 2;
    if (!steps[i - 1].act(folder)) return 0;
    if (!note(steps[i - 1].flush ? 'f' : 'd', i)) return 2;
    if (const char* step = std::getenv("KILL_STEP"); step != nullptr && std::strtoull(step, nullptr, 10) == i)
      ::kill(static_cast<pid_t>(std::strtol(std::getenv("KILL_PID"), nullptr, 10)), SIGKILL);
  }
  return 0;
}

int check(const std::vector<Step>& steps, const std::string& folder, const std::string& log, const std::string& plain) {
  std::size_t begun = 0, flushed = 0;
  std::ifstream in(log);
  char what = 0;
  for (std::size_t number = 0; in >> what >> number;) {
    begun = std::max(begun, number);
    if (what == 'f') flushed = number;
  }
  const std::string found = tree_of(folder);
  ::unsetenv("ATOLL");
  if (!prepare(plain)) {
    std::perror(plain.c_str());
    return 2;
  }
  bool right = flushed == 0 && tree_of(plain) == found;
  std::string nearest = tree_of(plain);
  for (std::size_t i = 1; i <= begun && !right; ++i) {
    const Step& step = steps[i - 1];
    for (std::size_t piece = 0; piece < step.pieces; ++piece) {
      if (!(step.piece ? step.piece(plain, piece) : step.act(plain))) {
        std::perror(("performing " + step.name + " in an ordinary folder").c_str());
        return 2;
      }
      const bool may = i > flushed || (i == flushed && piece + 1 == step.pieces);
      if (!may) continue;
      nearest = tree_of(plain);
      right = right || nearest == found;
    }
  }
  if (right) return 0;
  std::printf("%zu steps had begun, a flush had acknowledged %zu. Found:\n%s\nthe last that it may be:\n%s\n", begun, flushed, found.c_str(), nearest.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() == 1 && words[0] == "list") {
    for (const auto& [name, steps] : workloads()) std::printf("%s\n", name.c_str());
    return 0;
  }
  if (words.size() >= 5 && words[0] == "trace") return trace(std::strtoull(words[1].c_str(), nullptr, 10), words[2], words[3], argv + 5);
  if (words.size() == 5) {
    const auto found = workloads().find(words[1]);
    if (found == workloads().end()) return 2;
    if (words[0] == "work") return work(found->second, words[2], words[3], words[4]);
    if (words[0] == "check") return check(found->second, words[2], words[3], words[4]);
  }
  std::fputs("usage: mount_killpoints trace|work|check|list ...; its source says how\n", stderr);
  return 2;
}
