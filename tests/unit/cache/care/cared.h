// A drive in memory with one file that is on all its nodes, and what tests of its care ask of it.
#pragma once

#include <algorithm>
#include <set>
#include <string>

#include "tests/support/drive_fixture.h"

namespace atl {

inline DriveOptions prompt_options() {
  DriveOptions made;
  made.gc_grace = std::chrono::seconds(0);
  return made;
}

/// A drive of `redundancy` with `spares` nodes more than it has shards, and one file that is full.
class Cared : public DriveFixture {
 public:
  Cared(Redundancy redundancy, std::size_t spares, std::uint64_t seed = 1, DriveOptions with = prompt_options())
      : DriveFixture(redundancy, with, seed, spares) {
    file = make_file(root_inode, "file").inode;
    content = random.bytes(3u << 20);
    write(file, 0, content);
    sync_full();
  }
  bool whole() {
    REQUIRE(drive->drop_cache());
    return read(file, 0, content.size()) == content;
  }
  std::size_t shards_on(std::size_t node) {
    for (const NodeCare& care : drive->care().status().nodes)
      if (care.node == engine.all()[node].spec.id) return care.shards;
    return 0;
  }
  /// A node that holds shards.
  std::size_t a_home() {
    for (std::size_t i = 0; i < engine.all().size(); ++i)
      if (shards_on(i) > 0) return i;
    FAIL("no node holds a shard");
    return 0;
  }
  /// Objects of shards on all nodes, and those that have a home: equal where nothing leaked.
  std::pair<std::size_t, std::size_t> objects_and_homes() {
    std::size_t objects = 0;
    for (const auto& node : engine.all())
      for (const auto& [name, body] : node.objects) objects += is_shard(body) ? 1 : 0;
    std::size_t homes = 0;
    for (std::size_t i = 0; i < engine.all().size(); ++i) homes += shards_on(i);
    return {objects, homes};
  }
  static bool is_shard(const Bytes& body) { return body.size() > 8 && std::string(body.begin(), body.begin() + 8) == "atollshd"; }
  std::uint64_t counter(const std::string& name) { return drive->status().counters.at(name); }
  void step(Duration by) {
    using std::chrono::minutes;
    // In steps: what a round begins ends before the next.
    for (Duration done{}; done < by; done += std::min<Duration>(by, minutes(1))) runtime.advance(std::min<Duration>(by, minutes(1)));
    runtime.run_until_idle();
  }

  InodeNumber file;
  Bytes content;
};

}  // namespace atl
