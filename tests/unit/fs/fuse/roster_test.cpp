#include "fs/fuse/roster.h"

#include <catch2/catch.hpp>
#include <random>

using namespace atl;

namespace {

/// The threads that a roster counts: how many are in each of the states between two calls. One that leaves takes any time.
struct Threads {
  Roster roster;
  const std::size_t max;
  std::size_t waiting = 0, busy = 0, leaving = 0;

  Threads(std::size_t kept, std::size_t bound) : roster(kept, bound), max(bound) { start(); }

  void start() {
    roster.started();
    ++waiting;
  }
  void receive() {
    --waiting;
    ++busy;
    if (roster.received()) start();
  }
  void answer() {
    --busy;
    ++(roster.answered() ? waiting : leaving);
  }
  void leave() {
    --leaving;
    roster.ended();
  }
  void check() const {
    REQUIRE(roster.waiting() == waiting);
    REQUIRE(roster.threads() == waiting + busy + leaving);
    REQUIRE(waiting + busy <= max);
    // Nobody waits only where as many as are allowed are busy, which come back.
    REQUIRE((waiting > 0 || busy == max));
  }
};

}  // namespace

TEST_CASE("Somebody always waits for the next request, however long those take that leave", "[fuse]") {
  // The threads that have been told to leave are held back until the end: the others answer and must not follow them all.
  Threads threads(2, 64);
  for (int i = 0; i < 8; ++i) threads.receive();
  while (threads.busy > 0) threads.answer();
  for (int i = 0; i < 100; ++i) {
    REQUIRE(threads.waiting == 2);
    threads.receive();
    threads.answer();
    threads.check();
  }
  while (threads.leaving > 0) threads.leave();
  CHECK(threads.roster.threads() == 2);
}

TEST_CASE("In any order of events a thread waits unless as many as are allowed are busy", "[fuse]") {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const std::size_t kept = 1 + random() % 8;
    Threads threads(kept, kept + random() % 8);
    for (int step = 0; step < 500; ++step) {
      const unsigned what = random() % 3;
      if (what == 0 && threads.waiting > 0) threads.receive();
      if (what == 1 && threads.busy > 0) threads.answer();
      if (what == 2 && threads.leaving > 0) threads.leave();
      threads.check();
    }
    while (threads.busy > 0) threads.answer();
    while (threads.leaving > 0) threads.leave();
    CHECK(threads.waiting >= 1);
    CHECK(threads.waiting <= kept);
  }
}
