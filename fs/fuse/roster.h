// How many threads serve a mount: as many as are busy and one that waits for the next request, up to a bound; a few stay
// when it becomes quiet. Only counts; the threads are of Workers. Not thread-safe: the caller holds its lock.
#pragma once

#include <cstddef>

namespace atl {

class Roster {
 public:
  /// `kept` and at least one stay when nothing is to be done; never more than `max` serve, and at least one.
  Roster(std::size_t kept, std::size_t max) : kept_(kept > 0 ? kept : 1), max_(max > 0 ? max : 1) {}

  /// A thread was started and is going to wait for a request.
  void started() {
    ++threads_;
    ++serving_;
    ++waiting_;
  }
  /// One that waited has got a request. True: nobody waits any more, so the caller starts another.
  bool received() {
    --waiting_;
    return waiting_ == 0 && serving_ < max_;
  }
  /// One has answered its request. True: it waits for the next one; false: enough others do, and it leaves. One that leaves
  /// counts neither as waiting nor as serving from here on, however long it takes to go: otherwise the others that meanwhile
  /// answer would take it for one that stays, leave as well, and nobody would be left.
  bool answered() {
    if (waiting_ >= kept_) {
      --serving_;
      return false;
    }
    ++waiting_;
    return true;
  }
  /// One that waited leaves: it was told to stop, or the mount is gone.
  void gave_up() {
    --waiting_;
    --serving_;
  }
  /// One that leaves or gave up has ended, or could not be started.
  void ended() { --threads_; }

  std::size_t threads() const { return threads_; }
  std::size_t waiting() const { return waiting_; }

 private:
  const std::size_t kept_;
  const std::size_t max_;
  std::size_t threads_ = 0;  // those that leave as well
  std::size_t serving_ = 0;  // wait or are busy
  std::size_t waiting_ = 0;
};

}  // namespace atl
