#include "tests/mount/posix/support.h"

#include <ftw.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/vfs.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <set>

namespace mount_test {

std::string error_name(int error) {
  if (error == 0) return "ok";
  const char* name = strerrorname_np(error);
  return name != nullptr ? name : "errno " + std::to_string(error);
}

const std::string& test_directory() {
  static const std::string directory = [] {
    const char* value = std::getenv("ATOLL_TEST_DIR");
    if (value == nullptr || *value == 0) {
      std::fprintf(stderr, "ATOLL_TEST_DIR must name the folder to test\n");
      std::exit(2);
    }
    char* full = realpath(value, nullptr);
    if (full == nullptr) {
      std::fprintf(stderr, "ATOLL_TEST_DIR=%s: %s\n", value, std::strerror(errno));
      std::exit(2);
    }
    std::string result = full;
    std::free(full);
    return result;
  }();
  return directory;
}

bool on_fuse() {
  struct statfs s;
  return statfs(test_directory().c_str(), &s) == 0 && s.f_type == 0x65735546;
}

bool is_root() { return geteuid() == 0; }

bool can_be_others() {
  static const bool can = is_root() && as_user(alice, [] { return 0; }) == "ok" && as_user(bob, [] { return 0; }) == "ok";
  return can;
}

bool skipped(const std::string& text) {
  static std::set<std::string> said;
  if (said.insert(text).second) {
    std::printf("fallback %s\n", text.c_str());
    std::fflush(stdout);
  }
  return false;
}

namespace {
int remove_entry(const char* path, const struct stat*, int, struct FTW*) { return ::remove(path); }
}  // namespace

Here::Here() : back_(::open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  std::string made = test_directory() + "/t.XXXXXX";
  if (mkdtemp(made.data()) == nullptr) {
    FAIL("cannot make a folder in " << test_directory() << ": " << std::strerror(errno));
  }
  path_ = made;
  if (::chmod(path_.c_str(), 0777) != 0 || ::chdir(path_.c_str()) != 0) FAIL("cannot enter " << path_);
  ::umask(022);
}

Here::~Here() {
  ::umask(022);
  if (::fchdir(back_) != 0) std::perror("fchdir");
  ::close(back_);
  ::nftw(path_.c_str(), remove_entry, 64, FTW_DEPTH | FTW_PHYS);
}

std::string in_child(const std::function<int()>& work) {
  std::fflush(nullptr);
  int pipe_ends[2];
  if (::pipe2(pipe_ends, O_CLOEXEC) != 0) return "no pipe";
  pid_t pid = ::fork();
  if (pid < 0) return "no fork";
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    // A fault ends the child at once; Catch's handlers are for the parent.
    for (int signal : {SIGSEGV, SIGABRT, SIGFPE, SIGILL, SIGTERM, SIGBUS, SIGXFSZ}) ::signal(signal, SIG_DFL);
    errno = 0;
    int error = work() == -1 ? errno : 0;
    if (::write(pipe_ends[1], &error, sizeof error) != sizeof error) ::_exit(99);
    ::_exit(0);
  }
  ::close(pipe_ends[1]);
  int error = -1;
  ssize_t got = ::read(pipe_ends[0], &error, sizeof error);
  ::close(pipe_ends[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
  if (got != sizeof error) return "the child ended without an answer";
  return error_name(error);
}

std::string as_user(const User& user, const std::function<int()>& work) {
  return in_child([&] {
    if (::setgroups(user.groups.size(), user.groups.data()) != 0 || ::setresgid(user.gid, user.gid, user.gid) != 0 ||
        ::setresuid(user.uid, user.uid, user.uid) != 0) {
      ::_exit(98);
    }
    errno = 0;
    return work();
  });
}

void write_file(const std::string& path, std::string_view bytes, mode_t mode) {
  Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, mode));
  INFO("writing " << path);
  REQUIRE(error_name(fd.error) == "ok");
  REQUIRE(write_at(fd, bytes, 0));
  REQUIRE_OK(fd.close());
}

std::string read_file(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY));
  if (!fd.is_open()) return "cannot open: " + error_name(fd.error);
  std::string all;
  char buffer[65536];
  for (;;) {
    ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0) return "cannot read: " + error_name(errno);
    if (got == 0) return all;
    all.append(buffer, static_cast<std::size_t>(got));
  }
}

bool write_at(int fd, std::string_view bytes, off_t offset) {
  while (!bytes.empty()) {
    ssize_t put = ::pwrite(fd, bytes.data(), bytes.size(), offset);
    if (put <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(put));
    offset += put;
  }
  return true;
}

std::string read_at(int fd, std::size_t length, off_t offset) {
  std::string out(length, '\0');
  std::size_t have = 0;
  while (have < length) {
    ssize_t got = ::pread(fd, out.data() + have, length - have, offset + static_cast<off_t>(have));
    if (got < 0) return "cannot read: " + error_name(errno);
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  out.resize(have);
  return out;
}

std::string pattern(std::size_t length, unsigned seed) {
  std::string out(length, '\0');
  std::uint64_t x = 0x9e3779b97f4a7c15ull * (seed + 1);
  for (std::size_t i = 0; i < length; ++i) {
    if (i % 8 == 0) {
      x ^= x << 13;
      x ^= x >> 7;
      x ^= x << 17;
    }
    out[i] = static_cast<char>(x >> (8 * (i % 8)));
  }
  return out;
}

struct stat stat_of(const std::string& path) {
  struct stat s {};
  INFO("lstat " << path);
  REQUIRE_OK(::lstat(path.c_str(), &s));
  return s;
}

struct stat stat_of(int fd) {
  struct stat s {};
  REQUIRE_OK(::fstat(fd, &s));
  return s;
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  DIR* d = ::opendir(directory.c_str());
  INFO("listing " << directory);
  REQUIRE(d != nullptr);
  while (const dirent* e = ::readdir(d)) {
    std::string_view name = e->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  ::closedir(d);
  std::sort(names.begin(), names.end());
  return names;
}

Times times_of(const std::string& path) {
  struct stat s = stat_of(path);
  return {nanoseconds(s.st_atim), nanoseconds(s.st_mtim), nanoseconds(s.st_ctim)};
}

Times times_of(int fd) {
  struct stat s = stat_of(fd);
  return {nanoseconds(s.st_atim), nanoseconds(s.st_mtim), nanoseconds(s.st_ctim)};
}

void let_clock_move() {
  struct timespec begin, now;
  ::clock_gettime(CLOCK_REALTIME_COARSE, &begin);
  do {
    struct timespec pause {0, 1'000'000};
    ::nanosleep(&pause, nullptr);
    ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  } while (nanoseconds(now) <= nanoseconds(begin) + 1);
}

}  // namespace mount_test
