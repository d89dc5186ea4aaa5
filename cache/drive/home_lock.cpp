// The lock on a drive's folder. It uses the system directly: an advisory lock is about processes, which no simulated
// disk has.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <thread>

#include "cache/drive/home.h"
#include "engine/base/os_error.h"

namespace atl {

namespace {

constexpr std::chrono::milliseconds poll_interval{50};

class FlockHomeLock final : public HomeLock {
 public:
  explicit FlockHomeLock(int file) : file_(file) {}
  ~FlockHomeLock() override {
    // The name of a holder that is gone would only mislead; the file stays, since removing it would let two processes
    // lock two files of one name.
    (void)!::ftruncate(file_, 0);
    ::close(file_);
  }
  FlockHomeLock(const FlockHomeLock&) = delete;
  FlockHomeLock& operator=(const FlockHomeLock&) = delete;

 private:
  int file_;
};

/// The process id in the lock file; 0 if its holder has not written it yet.
long holder_of(int file) {
  std::array<char, 24> text{};
  const ssize_t count = ::pread(file, text.data(), text.size(), 0);
  long holder = 0;
  if (count > 0) std::from_chars(text.data(), text.data() + count, holder);
  return holder;
}

}  // namespace

Result<std::unique_ptr<HomeLock>> HomeLock::acquire(const std::string& directory, std::chrono::milliseconds wait) {
  const std::string path = directory + "/lock";
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return fail_errno("open", path);
  const auto deadline = std::chrono::steady_clock::now() + wait;
  while (::flock(file, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    const std::chrono::nanoseconds left = deadline - std::chrono::steady_clock::now();
    if (error == EINTR) continue;
    if (error == EWOULDBLOCK && left.count() > 0) {
      std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(poll_interval, left));
      continue;
    }
    const long holder = holder_of(file);
    ::close(file);
    if (error != EWOULDBLOCK) return fail(os_error("lock", path, error));
    return fail(
        Code::busy,
        "the drive in " + directory + " is in use" + (holder > 0 ? " by process " + std::to_string(holder) : ""),
        "unmount it first, or wait for that process to end");
  }
  std::unique_ptr<HomeLock> lock = std::make_unique<FlockHomeLock>(file);
  const std::string name = std::to_string(::getpid()) + "\n";
  if (::ftruncate(file, 0) != 0 || ::pwrite(file, name.data(), name.size(), 0) != static_cast<ssize_t>(name.size()))
    return fail_errno("write", path);
  return lock;
}

}  // namespace atl
