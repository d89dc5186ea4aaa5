#include "tests/sim/editor_day.h"

#include <algorithm>

#include "tests/sim/world.h"

namespace atl::sim {
namespace {

using namespace std::chrono_literals;

constexpr Duration working_hours = 8h;
constexpr Duration save_pause = 10s;

Shape shape_of(std::uint64_t seed) {
  Shape shape;
  shape.seed = seed;
  return shape;
}

/// As editors do: a new file, flushed, takes the old one's place.
void save(World& world) {
  Drive& drive = world.drive();
  auto made = drive.make_node(root_inode, "notes.new", 0100644, 0, world.caller);
  if (!made) throw Violation("no file can be made: " + made.error().what);
  if (auto written = drive.write(made->inode, 0, world.random.bytes(4096), {}); !written) throw Violation("a save failed: " + written.error().what);
  if (auto durable = drive.commit(); !durable) throw Violation("a save failed: " + durable.error().what);
  if (auto renamed = drive.rename(root_inode, "notes.new", root_inode, "notes", RenameMode::replace); !renamed)
    throw Violation("a save failed: " + renamed.error().what);
  drive.forget(made->inode, 1);
}

void a_day(World& world, EditorDay& day) {
  const MonotonicTime morning = world.scheduler.now();
  MonotonicTime next = morning;
  while (world.scheduler.now() < morning + working_hours) {
    if (world.scheduler.now() >= next) {
      save(world);
      ++day.saves;
      next += save_pause;
    }
    world.scheduler.sleep(1s);
    const DriveStatus status = world.drive().status();
    day.longest_s = std::max({day.longest_s, static_cast<double>(status.journal_unshipped_seconds), static_cast<double>(status.oldest_unprotected_seconds)});
  }
  world.scheduler.sleep(morning + 24h - world.scheduler.now());
}

}  // namespace

EditorDay simulate_editor_day(std::uint64_t seed) {
  World world(shape_of(seed), false);
  EditorDay day;
  world.scheduler.run([&] {
    world.create();
    world.open();
    a_day(world, day);
    day = {};
    for (std::size_t i = 0; i < world.count(); ++i) world.node(i).requests.clear();
    a_day(world, day);
    for (std::size_t i = 0; i < world.count(); ++i) {
      std::uint64_t sum = 0;
      for (const auto& [kind, count] : world.node(i).requests) sum += count;
      if (sum <= day.requests) continue;
      day.requests = sum;
      day.of_that_node = world.node(i).requests;
    }
    if (world.drive().status().protection != Protection::full) throw Violation("after a night not all is full");
    if (auto closed = world.close(); !closed) throw Violation("unmounting failed: " + closed.error().what);
  });
  return day;
}

}  // namespace atl::sim
