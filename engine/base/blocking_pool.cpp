#include "engine/base/blocking_pool.h"

#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "engine/base/signals_blocked.h"

namespace atl {

struct BlockingPool::State {
  const std::size_t threads_max;
  std::mutex mutex;
  std::condition_variable work_changed;
  std::condition_variable thread_ended;
  std::deque<Job> jobs;
  std::size_t threads = 0;
  std::size_t idle = 0;
  bool closed = false;

  explicit State(std::size_t threads_max_) : threads_max(std::max<std::size_t>(threads_max_, 1)) {}

  void run() {
    std::unique_lock lock(mutex);
    for (;;) {
      if (!jobs.empty()) {
        Job job = std::move(jobs.front());
        jobs.pop_front();
        lock.unlock();
        job();
        job = nullptr;
        lock.lock();
      } else if (closed) {
        break;
      } else {
        ++idle;
        work_changed.wait(lock);
        --idle;
      }
    }
    --threads;
    thread_ended.notify_all();
  }
};

BlockingPool::BlockingPool(std::size_t threads_max) : state_(std::make_shared<State>(threads_max)) {}

BlockingPool::~BlockingPool() { close(Duration::zero()); }

bool BlockingPool::post(Job job) {
  const std::lock_guard lock(state_->mutex);
  if (state_->closed) return false;
  state_->jobs.push_back(std::move(job));
  if (state_->idle < state_->jobs.size() && state_->threads < state_->threads_max) {
    const SignalsBlocked blocked;
    std::thread thread([state = state_] { state->run(); });
    ::pthread_setname_np(thread.native_handle(), "atoll-disk");
    thread.detach();  // close() waits by count: a thread that hangs could not be joined
    ++state_->threads;
  }
  state_->work_changed.notify_one();
  return true;
}

bool BlockingPool::close(Duration patience) {
  std::deque<Job> dropped;  // destroyed after the lock is given back
  std::unique_lock lock(state_->mutex);
  state_->closed = true;
  dropped.swap(state_->jobs);
  state_->work_changed.notify_all();
  const bool ended = state_->thread_ended.wait_for(lock, patience, [this] { return state_->threads == 0; });
  lock.unlock();
  return ended;
}

}  // namespace atl
