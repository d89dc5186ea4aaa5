#include "cache/drive/tasks.h"

namespace atl {

struct Tasks::Gate {
  std::mutex mutex;
  bool closed = false;
  std::size_t running = 0;
  std::unique_ptr<Event> idle;

  bool enter() {
    std::lock_guard lock(mutex);
    if (closed) return false;
    ++running;
    return true;
  }
  void leave() {
    std::lock_guard lock(mutex);
    if (--running == 0) idle->set();
  }
};

Tasks::Tasks(Runtime& runtime) : runtime_(runtime), gate_(std::make_shared<Gate>()) { gate_->idle = runtime.make_event(); }

Tasks::~Tasks() { close(); }

void Tasks::post(Runtime::Task task) {
  // Counted from here on, so that close() also waits for what is queued.
  if (!gate_->enter()) return;
  runtime_.post([gate = gate_, task = std::move(task)] {
    bool run = false;
    {
      std::lock_guard lock(gate->mutex);
      run = !gate->closed;
    }
    if (run) task();
    gate->leave();
  });
}

void Tasks::after(Duration delay, Runtime::Task task) { runtime_.after(delay, guard(std::move(task))); }

Runtime::Task Tasks::guard(Runtime::Task task) {
  return [gate = gate_, task = std::move(task)] {
    if (!gate->enter()) return;
    task();
    gate->leave();
  };
}

void Tasks::close() {
  stop_.request_stop();
  for (;;) {
    {
      std::lock_guard lock(gate_->mutex);
      gate_->closed = true;
      if (gate_->running == 0) return;
      gate_->idle->reset();
    }
    gate_->idle->wait_until(std::nullopt);
  }
}

bool Tasks::closed() const {
  std::lock_guard lock(gate_->mutex);
  return gate_->closed;
}

}  // namespace atl
