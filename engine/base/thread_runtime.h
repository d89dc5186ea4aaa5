// A Runtime on real threads: workers that take tasks in the order of their posting, and one thread for timers.
//
// Deadlines are those of the Clock given, which counts suspend where the system's does: after a resume, what is
// overdue is seen within `recheck_interval` at the latest. Workers block all signals, so that these reach the threads
// that wait for them. A task that throws ends the process: tasks report errors by what they call.
//
// close(): tasks posted before it still run, timers that have not fired are dropped with their tasks, everything given
// later is dropped at once. It returns when no task is left running, may be called again, and never from a task.
// The destructor closes. `clock` outlives it.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "engine/base/runtime.h"

namespace atl {

class ThreadRuntime final : public Runtime {
 public:
  static constexpr Duration recheck_interval = std::chrono::seconds(1);

  /// At least one worker. Throws std::system_error if the system gives no threads.
  ThreadRuntime(std::size_t workers, Clock& clock);
  ~ThreadRuntime() override;

  void close();

  Clock& clock() override { return clock_; }
  void post(Task task) override;
  TimerId after(Duration delay, Task task) override;
  bool cancel(TimerId timer) override;
  std::unique_ptr<Event> make_event() override;

 private:
  struct Timer {
    MonotonicTime due;
    Task task;
  };

  void start(std::size_t workers);
  void stop();
  void run_worker();
  void run_timers();

  Clock& clock_;
  std::mutex mutex_;  // guards everything below up to the threads
  std::condition_variable work_changed_;
  std::condition_variable timers_changed_;
  bool closing_ = false;
  std::deque<Task> tasks_;
  std::map<TimerId, Timer> timers_;
  std::set<std::pair<MonotonicTime, TimerId>> by_due_;
  TimerId last_timer_ = 0;

  std::mutex stop_mutex_;  // one closer joins, the others wait for it
  std::vector<std::thread> threads_;
};

}  // namespace atl
