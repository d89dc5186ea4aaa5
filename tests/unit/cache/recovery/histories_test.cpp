// Long histories on twelve nodes, and then nothing is left but nodes and keys: what comes back is a state that was, not
// before what was protected, with everything that a file is.
#include <catch2/catch.hpp>

#include <sodium.h>

#include "cache/recovery/recovery.h"
#include "tests/support/drive_fixture.h"

using namespace atl;

namespace {

constexpr Duration patience = std::chrono::seconds(5);
constexpr std::size_t node_count = 12;

DriveOptions small_and_quick() {
  DriveOptions options;
  options.gc_grace = Duration(0);  // what an unsafe removal would take is gone at once
  options.repair_grace = std::chrono::minutes(1);
  return options;
}

/// Everything that somebody could see of a tree, but for the times of access.
using Picture = std::map<std::string, std::string>;

struct History : DriveFixture {
  explicit History(std::uint64_t seed) : DriveFixture({5, 9}, small_and_quick(), seed, node_count - 9), chance(seed * 7919) {
    for (auto& node : engine.all()) present.insert(node.spec.id);
  }

  std::string content_of(const Attributes& file) {
    const auto key = std::tuple(file.inode, file.size, file.mtime, file.ctime);
    if (const auto known = contents.find(key); known != contents.end()) return known->second;
    const Bytes bytes = read(file.inode, 0, file.size);
    std::array<std::uint8_t, 16> hash{};
    crypto_generichash(hash.data(), hash.size(), bytes.data(), bytes.size(), nullptr, 0);
    return contents[key] = to_hex(hash);
  }
  void look(InodeNumber directory, const std::string& path, Picture& picture, bool fresh) {
    std::vector<std::pair<std::string, InodeNumber>> names;
    REQUIRE(drive->list_directory(directory, 2, false, [&](const DirectoryEntry& entry) {
      names.emplace_back(entry.name, entry.inode);
      return true;
    }));
    for (const auto& [name, inode] : names) {
      const Attributes a = *drive->attributes(inode);
      std::string line = std::to_string(inode.value) + " " + std::to_string(a.mode) + " " + std::to_string(a.uid) + " " + std::to_string(a.links) + " " + std::to_string(a.size) + " " +
                         std::to_string(a.mtime.seconds) + "." + std::to_string(a.mtime.nanoseconds) + " " + std::to_string(a.ctime.seconds) + "." + std::to_string(a.ctime.nanoseconds);
      const auto keys = drive->list_xattrs(inode);
      REQUIRE(keys);
      for (const std::string& key : *keys) line += " " + key + "=" + to_hex(*drive->get_xattr(inode, key));
      if ((a.mode & 0170000) == 0120000) line += " -> " + *drive->read_symlink(inode);
      if (fresh) contents.erase(std::tuple(a.inode, a.size, a.mtime, a.ctime));
      if ((a.mode & 0170000) == 0100000) line += " " + content_of(a);
      picture[path + "/" + name] = line;
      if ((a.mode & 0170000) == 0040000) look(inode, path + "/" + name, picture, fresh);
    }
  }
  Picture picture(bool fresh = false) {
    Picture now;
    look(root_inode, "", now, fresh);
    return now;
  }

  std::optional<InodeNumber> any(bool directory) {
    std::vector<InodeNumber> found;
    if (directory) found.push_back(root_inode);
    std::vector<InodeNumber> open{root_inode};
    while (!open.empty()) {
      const InodeNumber at = open.back();
      open.pop_back();
      (void)drive->list_directory(at, 2, false, [&](const DirectoryEntry& entry) {
        if ((entry.mode & 0170000) == 0040000) open.push_back(entry.inode);
        if (((entry.mode & 0170000) == 0040000) == directory && (entry.mode & 0170000) != 0120000) found.push_back(entry.inode);
        return true;
      });
    }
    if (found.empty()) return std::nullopt;
    return found[chance.below(found.size())];
  }
  std::string name() { return "n" + std::to_string(chance.below(12)); }
  void absent(std::size_t count) {
    std::set<std::size_t> gone;
    while (gone.size() < count) gone.insert(chance.below(node_count));
    for (std::size_t i = 0; i < node_count; ++i) engine.all()[i].absent = gone.contains(i);
    engine.changed();
  }

  void change() {
    const InodeNumber folder = *any(true);
    switch (chance.below(13)) {
      case 0: (void)drive->make_directory(folder, name(), 0755, caller); break;
      case 1: (void)drive->make_symlink(folder, name(), "to/" + name(), caller); break;
      case 2:
        if (const auto file = any(false)) (void)drive->link(*file, folder, name());
        break;
      case 3: (void)drive->unlink(folder, name()); break;
      case 4: (void)drive->remove_directory(folder, name()); break;
      case 5: (void)drive->rename(folder, name(), *any(true), name(), chance.below(4) == 0 ? RenameMode::exchange : RenameMode::replace); break;
      case 6: {
        AttributeChange change;
        change.mode = 0600 + static_cast<std::uint32_t>(chance.below(64));
        change.mtime = Timestamp{static_cast<std::int64_t>(chance.below(2'000'000'000)), static_cast<std::uint32_t>(chance.below(1'000'000'000))};
        if (const auto file = any(false)) (void)drive->change_attributes(*file, change);
        break;
      }
      case 7:
        if (const auto file = any(false)) (void)drive->set_xattr(*file, "user." + name(), chance.bytes(chance.below(50)), SetXattrMode::create_or_replace);
        break;
      case 8: {
        AttributeChange change;
        change.size = chance.below(200'000);
        if (const auto file = any(false)) (void)drive->change_attributes(*file, change);
        break;
      }
      case 9:
        if (const auto file = any(false)) (void)drive->fallocate(*file, FallocateMode::punch_hole, chance.below(50'000), 1 + chance.below(50'000));
        break;
      default: {
        auto made = drive->make_node(folder, name(), 0100644, 0, caller);
        const auto file = made ? std::optional(made->inode) : any(false);
        if (file) write(*file, chance.below(50'000), chance.bytes(1 + chance.below(chance.below(5) == 0 ? 600'000 : 9'000)));
      }
    }
    // No two changes at one moment: pictures are told apart by times.
    runtime.advance(std::chrono::milliseconds(1 + chance.below(50)));
  }

  SeededRandom chance;
  std::set<NodeId> present;
  std::map<std::tuple<InodeNumber, std::uint64_t, Timestamp, Timestamp>, std::string> contents;
};

}  // namespace

TEST_CASE("after a long history on twelve nodes everything comes back from those that are left", "[histories]") {
  const std::uint64_t seed = GENERATE(range<std::uint64_t>(1, 13));
  CAPTURE(seed);
  History world(seed);
  std::vector<Picture> history{world.picture()};
  std::size_t safe = 0;
  const auto note = [&] {
    Picture now = world.picture();
    if (now != history.back()) history.push_back(std::move(now));
  };
  const auto place_of = [&](const Picture& now) {
    const auto found = std::find(history.rbegin(), history.rend(), now);
    REQUIRE(found != history.rend());
    return static_cast<std::size_t>(history.rend() - found) - 1;
  };
  const auto sync_protected = [&] { return world.drive->sync(SyncLevel::protected_, world.runtime.clock().now() + std::chrono::minutes(5), {}, {}); };
  for (int step = 0; step < 150; ++step) {
    switch (world.chance.below(24)) {
      case 0:
        world.absent(world.chance.below(3));
        break;
      case 1:
      case 2:
        if (sync_protected()) safe = history.size() - 1;
        break;
      case 3:
        world.absent(0);
        world.runtime.advance(std::chrono::seconds(12));
        REQUIRE(world.drive->collect_garbage(true, {}));
        break;
      case 4: world.runtime.advance(std::chrono::milliseconds(world.chance.below(20'000))); break;
      case 5: {  // the power goes amid whatever is shipped
        const std::size_t durable = safe;
        world.crash(world.chance.u64(), world.chance.below(2) == 0);
        world.open();
        const std::size_t place = place_of(world.picture(true));
        CHECK(place >= durable);
        history.resize(place + 1);
        break;
      }
      case 6:
        world.close();
        if (world.chance.below(3) == 0) world.keyring = world.keyring.rotated(world.random);
        if (world.chance.below(2) == 0) world.remove_index();
        world.open();
        break;
      case 7: (void)world.drive->drop_cache(); break;
      default: world.change(); note();
    }
  }
  if (safe == 0) {
    world.absent(0);
    world.runtime.advance(std::chrono::seconds(12));
    REQUIRE(sync_protected());
    safe = history.size() - 1;
  }
  // The index is the journal folded, whatever happened.
  world.close();
  world.open(false);
  const auto live = world.drive->digest();
  REQUIRE(live);
  world.close();
  world.remove_index();
  world.open(false);
  CHECK(*world.drive->digest() == *live);

  world.lose_computer();
  for (int loss = 0; loss < 3; ++loss) {
    CAPTURE(loss);
    world.absent(3);  // r - k
    const auto survey = survey_heads(world.seams(), world.engine, FakeEngine::specs(world.engine.all()), world.keyring, patience);
    REQUIRE(survey);
    REQUIRE(survey->head);
    REQUIRE(rebuild_state(world.seams(), world.directory(), world.engine, *survey->head, world.keyring, FakeEngine::specs(world.engine.all()), patience, {}));
    world.options.read_only = true;
    world.open();
    CHECK(place_of(world.picture(true)) >= safe);
    world.lose_computer();
  }
}
