#include "engine/base/waiters.h"

namespace atl {

bool Waiters::wait(Runtime& runtime, std::optional<MonotonicTime> deadline, const std::stop_token& stop,
                   const std::function<bool()>& ready) {
  const std::unique_ptr<Event> event = runtime.make_event();
  {
    std::lock_guard lock(mutex_);
    events_.insert(event.get());
  }
  std::stop_callback on_stop(stop, [&event] { event->set(); });
  bool result = false;
  for (;;) {
    event->reset();
    if (stop.stop_requested()) break;
    if (ready()) {
      result = true;
      break;
    }
    if (!event->wait_until(deadline)) {
      result = ready();
      break;
    }
  }
  std::lock_guard lock(mutex_);
  events_.erase(event.get());
  return result;
}

void Waiters::wake() {
  std::lock_guard lock(mutex_);
  for (Event* event : events_) event->set();
}

}  // namespace atl
