#include "fs/fuse/workers.h"

#include <pthread.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <system_error>

#include "fs/fuse/fuse_api.h"
#include "fs/fuse/raw_request.h"

namespace atl {

namespace {

constexpr int wake_signal = SIGUSR2;

void ignore_wake(int) {}

}  // namespace

Workers::Workers(fuse_session* session, std::size_t kept, std::size_t max, std::function<void()> ended)
    : session_(session), ended_(std::move(ended)), roster_(kept, max) {
  struct sigaction action {};
  action.sa_handler = ignore_wake;  // no SA_RESTART: read(2) ends with EINTR
  sigaction(wake_signal, &action, nullptr);
}

void Workers::start() {
  const std::lock_guard lock(mutex_);
  add();
}

void Workers::add() {
  roster_.started();
  try {
    std::thread([this] { run(); }).detach();
  } catch (const std::system_error&) {
    roster_.gave_up();
    roster_.ended();
    if (roster_.threads() == 0) throw;  // otherwise those there are go on alone
  }
}

void Workers::run() {
  pthread_setname_np(pthread_self(), "atoll-fuse");
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, wake_signal);
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  decltype(threads_)::iterator self;
  {
    const std::lock_guard lock(mutex_);
    self = threads_.insert(threads_.end(), pthread_self());
  }

  fuse_buf buffer{};
  bool gone = false;
  bool waiting = true;
  while (waiting && !stopping_.load()) {
    const int received = fuse_session_receive_buf(session_, &buffer);
    if (received == -EINTR || received == -EAGAIN || received == -ENOENT) continue;
    if (received <= 0) {
      gone = true;
      break;
    }
    {
      const std::lock_guard lock(mutex_);
      if (roster_.received() && !stopping_.load()) add();
    }
    raw_request::received(buffer.mem, buffer.size);
    fuse_session_process_buf(session_, &buffer);
    const std::lock_guard lock(mutex_);
    waiting = roster_.answered();
  }
  std::free(buffer.mem);

  std::unique_lock lock(mutex_);
  if (waiting) roster_.gave_up();
  threads_.erase(self);
  const bool tell = gone && !told_ && !stopping_.load();
  told_ = told_ || tell;
  if (tell) {
    lock.unlock();
    ended_();
    lock.lock();
  }
  roster_.ended();
  // Under the lock: the owner may destroy this the moment it sees zero.
  gone_.notify_all();
}

void Workers::stop() {
  std::unique_lock lock(mutex_);
  stopping_.store(true);
  while (roster_.threads() > 0) {
    // Again and again: a signal that arrives just before read(2) wakes nobody.
    for (const pthread_t thread : threads_) pthread_kill(thread, wake_signal);
    gone_.wait_for(lock, std::chrono::milliseconds(5));
  }
}

}  // namespace atl
