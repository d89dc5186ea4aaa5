#include "engine/base/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <thread>

#include "engine/base/os_error.h"

namespace atl {

namespace {

constexpr std::chrono::milliseconds poll_interval{50};

/// The process id in the lock file; 0 if its holder has not written it yet.
long holder_of(int file) {
  std::array<char, 24> text{};
  const ssize_t count = ::pread(file, text.data(), text.size(), 0);
  long holder = 0;
  if (count > 0) std::from_chars(text.data(), text.data() + count, holder);
  return holder;
}

}  // namespace

Result<std::unique_ptr<FolderLock>> FolderLock::take(const std::string& folder, std::chrono::milliseconds wait, const std::function<Error(long holder)>& busy) {
  const std::string path = folder + "/lock";
  const auto deadline = std::chrono::steady_clock::now() + wait;
  for (;;) {
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0) return fail_errno("open", path);
    std::unique_ptr<FolderLock> lock(new FolderLock(file));
    while (::flock(file, LOCK_EX | LOCK_NB) != 0) {
      if (errno == EINTR) continue;
      if (errno != EWOULDBLOCK) return fail_errno("lock", path);
      const std::chrono::nanoseconds left = deadline - std::chrono::steady_clock::now();
      if (left.count() <= 0) return tl::unexpected<Error>(busy(holder_of(file)));
      std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(poll_interval, left));
    }
    // Meanwhile another folder may have taken the place of this one: its lock is another file.
    struct stat locked {
    }, named{};
    if (::fstat(file, &locked) == 0 && (::stat(path.c_str(), &named) != 0 || named.st_ino != locked.st_ino || named.st_dev != locked.st_dev)) continue;
    const std::string name = std::to_string(::getpid()) + "\n";
    if (::ftruncate(file, 0) != 0 || ::pwrite(file, name.data(), name.size(), 0) != static_cast<ssize_t>(name.size()))
      return fail_errno("write", path);
    return lock;
  }
}

FolderLock::~FolderLock() {
  // The name of a holder that is gone would only mislead; the file stays, since removing it would let two processes lock
  // two files of one name.
  if (::flock(file_, LOCK_EX | LOCK_NB) == 0) (void)!::ftruncate(file_, 0);
  ::close(file_);
}

}  // namespace atl
