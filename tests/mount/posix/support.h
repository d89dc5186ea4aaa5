// What the tests of a mounted file system share: a folder that cleans up after itself, file descriptors that close,
// checks that name the error number, and children that run as other users.
//
// The folder to test is named by ATOLL_TEST_DIR. The tests say what POSIX and the Linux manual pages ask of any file
// system; ext4 is the reference. Where a machine forbids something, a line `fallback ...` says what was left out.
// Threads: only the test's own; children made by as_user() run alone and never return.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <cerrno>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace mount_test {

/// The name of an error number, "ENOENT"; "ok" for 0.
std::string error_name(int error);

/// What a call that returns -1 and sets errno did: "ok" or the error's name.
template <class Call>
std::string result_of(Call call) {
  errno = 0;
  return call() == -1 ? error_name(errno) : std::string("ok");
}
#define RESULT_OF(call) ::mount_test::result_of([&] { return call; })
#define MOUNT_TEST_RESULT(verb, call, expected)       \
  do {                                                \
    const std::string result = RESULT_OF(call);       \
    INFO(#call);                                      \
    verb(result == expected);                         \
  } while (false)
#define REQUIRE_OK(call) MOUNT_TEST_RESULT(REQUIRE, call, "ok")
#define CHECK_OK(call) MOUNT_TEST_RESULT(CHECK, call, "ok")
#define CHECK_ERROR(call, error) MOUNT_TEST_RESULT(CHECK, call, #error)

/// A file descriptor that closes at the end of its scope. Not opened: get() < 0, and `error` says why.
class Fd {
 public:
  explicit Fd(int fd) : fd_(fd), error(fd < 0 ? errno : 0) {}
  Fd(Fd&& other) noexcept : fd_(other.fd_), error(other.error) { other.fd_ = -1; }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  Fd& operator=(Fd&&) = delete;
  ~Fd() { close(); }
  operator int() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  int close() {
    int result = fd_ >= 0 ? ::close(fd_) : 0;
    fd_ = -1;
    return result;
  }

 private:
  int fd_;

 public:
  int error;
};

/// A new folder below ATOLL_TEST_DIR that is the working directory while it lives, so that tests (and other users, who
/// may not search the folders above) use short relative names. Mode 0777. Removed with what is in it.
class Here {
 public:
  Here();
  ~Here();
  Here(const Here&) = delete;
  Here& operator=(const Here&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  int back_;
};

/// The folder under test. Ends the program with a sentence if ATOLL_TEST_DIR is not set.
const std::string& test_directory();
/// Whether the folder lies on a FUSE mount; for the few places where ext4 lawfully differs.
bool on_fuse();

bool is_root();
/// Whether children can become other users: root, and not in a user namespace that knows one user only.
bool can_be_others();
/// Prints `fallback <text>` once a text, and returns false.
bool skipped(const std::string& text);
#define NEEDS(condition, text) \
  do {                         \
    if (!(condition)) {        \
      ::mount_test::skipped(text); \
      return;                  \
    }                          \
  } while (false)
#define NEEDS_ROOT() NEEDS(::mount_test::is_root(), std::string("needs root, left out: ") + Catch::getResultCapture().getCurrentTestName())
#define NEEDS_USERS() NEEDS(::mount_test::can_be_others(), std::string("needs several users, left out: ") + Catch::getResultCapture().getCurrentTestName())

struct User {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
};
inline const User alice{12001, 12001, {}};
inline const User bob{12002, 12002, {}};

/// Runs `work` in a child with this identity and no capabilities, in the same working directory. `work` returns like a
/// system call: -1 with errno, or success. Returns "ok", the error's name, or "signal N".
std::string as_user(const User& user, const std::function<int()>& work);
/// The same without a change of identity: a child of its own, for umask, locks and signals.
std::string in_child(const std::function<int()>& work);

void write_file(const std::string& path, std::string_view bytes, mode_t mode = 0644);
std::string read_file(const std::string& path);
/// All of `bytes` at an offset; false with errno if not.
bool write_at(int fd, std::string_view bytes, off_t offset);
std::string read_at(int fd, std::size_t length, off_t offset);
/// Bytes that differ at every offset and for every seed.
std::string pattern(std::size_t length, unsigned seed);

struct stat stat_of(const std::string& path);   // lstat
struct stat stat_of(int fd);
inline mode_t permissions(const struct stat& s) { return s.st_mode & 07777; }
std::vector<std::string> names_in(const std::string& directory);  // sorted, without . and ..

/// Nanoseconds since 1970.
inline std::int64_t nanoseconds(const struct timespec& t) { return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec; }
struct Times {
  std::int64_t atime, mtime, ctime;
};
Times times_of(const std::string& path);
Times times_of(int fd);
/// Waits until the kernel's coarse clock, which stamps files, has moved on.
void let_clock_move();

}  // namespace mount_test
