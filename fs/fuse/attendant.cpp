#include "fs/fuse/attendant.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace atl {

bool is_being_killed(pid_t tid) {
  if (tid == 0) return true;
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/status", static_cast<int>(tid));
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return true;
  char text[4096];
  const ssize_t count = ::read(fd, text, sizeof text - 1);
  ::close(fd);
  if (count <= 0) return true;
  text[count] = 0;
  const auto set = [&](std::string_view key) -> std::uint64_t {
    const std::size_t at = std::string_view(text).find(key);
    return at == std::string_view::npos ? 0 : std::strtoull(text + at + key.size(), nullptr, 16);
  };
  constexpr auto bit = [](int signal) { return std::uint64_t{1} << (signal - 1); };
  // What is pending and neither blocked, ignored nor handled ends the program, unless its default is to do nothing or
  // to stop. The kernel marks a fatal signal as SIGKILL only for a thread that no other signal had woken before.
  constexpr std::uint64_t harmless = bit(SIGCHLD) | bit(SIGCONT) | bit(SIGURG) | bit(SIGWINCH) | bit(SIGSTOP) |
                                     bit(SIGTSTP) | bit(SIGTTIN) | bit(SIGTTOU);
  const std::uint64_t pending = set("\nSigPnd:\t") | set("\nShdPnd:\t");
  const std::uint64_t survived = set("\nSigBlk:\t") | set("\nSigIgn:\t") | set("\nSigCgt:\t") | harmless;
  return (pending & (~survived | bit(SIGKILL))) != 0;
}

Attendant::Attendant() : thread_([this] { run(); }) { pthread_setname_np(thread_.native_handle(), "atoll-attend"); }

void Attendant::close() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Attendant::post(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    if (!closing_) {
      tasks_.push_back(std::move(task));
      changed_.notify_all();
      return;
    }
  }
  // Dropped: the reply inside answers EIO.
}

void Attendant::interrupted(std::shared_ptr<Interruption> interruption) {
  const std::lock_guard lock(mutex_);
  interrupted_.push_back(std::move(interruption));
  changed_.notify_all();
}

void Attendant::run() {
  std::unique_lock lock(mutex_);
  while (!closing_ || !tasks_.empty()) {
    if (!tasks_.empty()) {
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      task = nullptr;
      lock.lock();
      continue;
    }
    if (interrupted_.empty()) {
      changed_.wait(lock);
      continue;
    }
    std::vector<std::shared_ptr<Interruption>> watched;
    watched.swap(interrupted_);
    lock.unlock();
    std::erase_if(watched, [](const std::shared_ptr<Interruption>& one) {
      if (one->done.load()) return true;
      if (!is_being_killed(one->caller)) return false;
      one->stop.request_stop();
      return true;
    });
    lock.lock();
    interrupted_.insert(interrupted_.end(), watched.begin(), watched.end());
    watched.clear();
    if (!interrupted_.empty() && tasks_.empty() && !closing_)
      changed_.wait_for(lock, std::chrono::milliseconds(50));
  }
}

}  // namespace atl
