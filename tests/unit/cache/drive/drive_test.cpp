#include <sys/stat.h>

#include <set>

#include "cache/sealing/extent_sealer.h"
#include "cache/staging/segment_store.h"
#include "tests/support/drive_fixture.h"
#include "tests/support/effort.h"

using namespace atl;

TEST_CASE("what is written is read back, at any offset and from every layer") {
  DriveFixture f;
  const Attributes file = f.make_file(root_inode, "file");
  const Bytes content = f.random.bytes(700'001);
  f.write(file.inode, 0, content);
  CHECK(f.read(file.inode, 0, 800'000) == content);
  REQUIRE(f.drive->commit());
  CHECK(f.read(file.inode, 0, 800'000) == content);
  f.sync_full();
  CHECK(f.read(file.inode, 0, 800'000) == content);
  REQUIRE(f.drive->drop_cache());
  const std::uint64_t reads_before = f.engine.counters().node_reads;
  CHECK(f.read(file.inode, 0, 800'000) == content);
  CHECK(f.engine.counters().node_reads > reads_before);
  CHECK(f.read(file.inode, 650'000, 800'000) == Bytes(content.begin() + 650'000, content.end()));
  CHECK(f.drive->attributes(file.inode)->size == 700'001);
}

TEST_CASE("a large hole is punched to its last byte, and no further") {
  DriveFixture f;
  const Attributes file = f.make_file(root_inode, "file");
  Bytes model(200'000, 7);
  f.write(file.inode, 0, model);
  f.sync_full();
  REQUIRE(f.drive->fallocate(file.inode, FallocateMode::punch_hole, 1000, 60'000));
  std::fill_n(model.begin() + 1000, 60'000, std::uint8_t{0});
  const bool same = f.read(file.inode, 0, 300'000) == model;  // their bytes say nothing to a reader
  CHECK(same);
}

TEST_CASE("random writes, truncations and holes leave a file as a plain array would be") {
  const std::uint64_t seed = GENERATE(1, 2, 3, 4, 5, 6);
  CAPTURE(seed);
  DriveFixture f({3, 6}, {}, seed);
  const Attributes file = f.make_file(root_inode, "file");
  Bytes model;
  const auto check = [&] {
    REQUIRE(f.drive->attributes(file.inode)->size == model.size());
    REQUIRE(f.read(file.inode, 0, model.size() + 10) == model);
  };
  for (int step = 0; step < 150; ++step) {
    CAPTURE(step);
    const std::uint64_t offset = f.random.below(600'000);
    const std::size_t count = 1 + f.random.below(f.random.chance(0.2) ? 400'000 : 9'000);
    switch (f.random.below(8)) {
      case 0: {
        AttributeChange change;
        change.size = f.random.below(900'000);
        REQUIRE(f.drive->change_attributes(file.inode, change));
        model.resize(*change.size);
        break;
      }
      case 1:
        REQUIRE(f.drive->fallocate(file.inode, FallocateMode::punch_hole, offset, count));
        for (std::size_t i = offset; i < std::min(offset + count, model.size()); ++i) model[i] = 0;
        break;
      case 2: {
        const std::uint64_t to = f.random.below(900'000);
        if (offset < to + count && to < offset + count) break;
        const auto copied = f.drive->copy_range(file.inode, offset, file.inode, to, count);
        REQUIRE(copied);
        const std::size_t expected = offset >= model.size() ? 0 : std::min<std::size_t>(count, model.size() - offset);
        REQUIRE(*copied == expected);
        const Bytes source(model.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(offset, model.size())), model.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(offset, model.size()) + expected));
        if (expected > 0 && model.size() < to + expected) model.resize(to + expected);
        std::copy(source.begin(), source.end(), model.begin() + static_cast<std::ptrdiff_t>(expected > 0 ? to : 0));
        break;
      }
      case 3:
        REQUIRE(f.drive->commit());
        break;
      case 4:
        if (f.random.chance(0.2)) {
          f.sync_full();
          REQUIRE(f.drive->drop_cache());
        }
        break;
      default: {
        const Bytes bytes = f.random.bytes(count);
        f.write(file.inode, offset, bytes);
        if (model.size() < offset + count) model.resize(offset + count);
        std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<std::ptrdiff_t>(offset));
      }
    }
    if (step % 10 == 0) check();
  }
  check();
  f.close();
  f.open();
  check();
  f.close();
  f.open(false);
  const Bytes digest = f.drive->digest().value();
  f.close();
  f.remove_index();
  f.open(false);
  check();
  CHECK(f.drive->digest().value() == digest);
}

TEST_CASE("what is read in pieces, nearly in order, is fetched once") {
  DriveFixture f;
  const Attributes file = f.make_file(root_inode, "file");
  const Bytes content = f.random.bytes(6'000'000);
  f.write(file.inode, 0, content);
  f.sync_full();
  REQUIRE(f.drive->drop_cache());
  const std::uint64_t before = f.engine.counters().node_read_bytes;
  // As a kernel does whose read-ahead is served by several threads: pairs of neighbours, the later one first.
  constexpr std::size_t piece = 128u << 10;
  for (std::size_t i = 0; i * piece < content.size(); ++i) {
    const std::size_t at = (i ^ 1) * piece;
    if (at >= content.size()) continue;
    const bool same = std::ranges::equal(f.read(file.inode, at, piece), ByteView(content).subspan(at, std::min(piece, content.size() - at)));
    CHECK(same);
  }
  const std::uint64_t fetched = f.engine.counters().node_read_bytes - before;
  CHECK(fetched >= content.size());
  CHECK(fetched <= content.size() * 11 / 10);
}

TEST_CASE("what one request wants of a segment is asked for at once") {
  DriveFixture f;
  const Attributes file = f.make_file(root_inode, "file");
  const Bytes content = f.random.bytes(6'000'000);
  f.write(file.inode, 0, content);
  f.sync_full();
  REQUIRE(f.drive->drop_cache());
  const EngineCounters before = f.engine.counters();
  constexpr std::size_t at = 2u << 20, length = 1u << 20;
  CHECK(std::ranges::equal(f.read(file.inode, at, length), ByteView(content).subspan(at, length)));
  const EngineCounters after = f.engine.counters();
  CHECK(after.node_reads - before.node_reads <= 2);  // it may cross from one shard to the next
  CHECK(after.node_read_bytes - before.node_read_bytes <= length + (192u << 10));
}

TEST_CASE("with n-k nodes gone less than twice the bytes are fetched, though each data shard that is missing takes k others") {
  DriveFixture f;
  const Attributes file = f.make_file(root_inode, "file");
  const Bytes content = f.random.bytes(12'000'000);
  f.write(file.inode, 0, content);
  f.sync_full();
  for (unsigned lost = 0; lost < 64; ++lost) {
    if (__builtin_popcount(lost) != 3) continue;
    for (unsigned i = 0; i < 6; ++i) f.engine.all()[i].absent = (lost >> i & 1) != 0;
    REQUIRE(f.drive->drop_cache());
    const std::uint64_t before = f.engine.counters().node_read_bytes;
    constexpr std::size_t piece = 1u << 20;
    bool same = true;
    for (std::size_t at = 0; at < content.size(); at += piece)
      same = same && std::ranges::equal(f.read(file.inode, at, piece), ByteView(content).subspan(at, std::min(piece, content.size() - at)));
    CHECK(same);
    const std::uint64_t fetched = f.engine.counters().node_read_bytes - before;
    INFO("lost " << lost);
    CHECK(fetched >= content.size());
    CHECK(fetched <= content.size() * 18 / 10);
  }
}

TEST_CASE("any n-k nodes may vanish or lie, and every byte reads back") {
  DriveFixture f;
  const Attributes file = f.make_file(root_inode, "file");
  const Bytes content = f.random.bytes(3'000'000);
  f.write(file.inode, 0, content);
  f.sync_full();
  for (unsigned lost = 0; lost < 64; ++lost) {
    const int count = __builtin_popcount(lost);
    if (count != 3 && count != 4) continue;
    for (unsigned i = 0; i < 6; ++i) {
      const bool is_lost = (lost >> i & 1) != 0;
      f.engine.all()[i].absent = is_lost && i % 2 == 0;
      f.engine.all()[i].garbage = is_lost && i % 2 == 1;
    }
    REQUIRE(f.drive->drop_cache());
    Bytes out(content.size());
    const std::uint64_t reads_before = f.engine.counters().node_reads;
    auto got = f.drive->read(file.inode, 0, out, false, {});
    CHECK(f.engine.counters().node_reads > reads_before);
    if (count == 3) {
      REQUIRE(got);
      REQUIRE(out == content);
    } else if (got) {
      // Data shards alone may suffice for a part; but what is read is right.
      REQUIRE(out == content);
    } else {
      CHECK(got.error().code == Code::too_few_nodes);
    }
  }
}

TEST_CASE("names behave as POSIX says") {
  DriveFixture f;
  const Attributes a = f.make_file(root_inode, "a");
  CHECK(f.drive->make_node(root_inode, "a", 0100644, 0, f.caller).error().code == Code::exists);
  const auto d = f.drive->make_directory(root_inode, "d", 0755, f.caller);
  REQUIRE(d);
  CHECK(f.drive->unlink(root_inode, "d").error().code == Code::is_directory);
  CHECK(f.drive->remove_directory(root_inode, "a").error().code == Code::not_directory);
  REQUIRE(f.drive->rename(root_inode, "a", d->inode, "b", RenameMode::replace));
  CHECK(f.drive->lookup(root_inode, "a").error().code == Code::not_found);
  CHECK(f.drive->lookup(d->inode, "b")->inode == a.inode);
  CHECK(f.drive->remove_directory(root_inode, "d").error().code == Code::not_empty);
  CHECK(f.drive->rename(root_inode, "d", d->inode, "x", RenameMode::replace).error().code == Code::invalid);
  const auto linked = f.drive->link(a.inode, root_inode, "c");
  REQUIRE(linked);
  CHECK(linked->links == 2);
  REQUIRE(f.drive->unlink(d->inode, "b"));
  CHECK(f.drive->attributes(a.inode)->links == 1);
  REQUIRE(f.drive->remove_directory(root_inode, "d"));
  CHECK(f.drive->attributes(root_inode)->links == 2);
  CHECK(f.drive->lookup(root_inode, std::string(256, 'x')).error().code == Code::name_too_long);
}

TEST_CASE("a file that lost its last name lives until its last user forgets it") {
  DriveFixture f;
  const Attributes file = f.make_file(root_inode, "file");
  f.write(file.inode, 0, as_bytes("still here"));
  REQUIRE(f.drive->unlink(root_inode, "file"));
  CHECK(as_text(f.read(file.inode, 0, 100)) == "still here");
  f.drive->forget(file.inode, 1);
  CHECK(f.drive->attributes(file.inode).error().code == Code::not_found);
}

TEST_CASE("a directory is listed without skip or repeat while it changes") {
  DriveFixture f;
  const std::uint64_t seed = GENERATE(1, 2, 3);
  std::set<std::string> steady;
  for (int i = 0; i < 3000; ++i) {
    const std::string name = "steady" + std::to_string(i);
    f.make_file(root_inode, name);
    steady.insert(name);
    if (i % 700 == 0) REQUIRE(f.drive->commit());
    if (i % 1000 == 0) f.runtime.run_until_idle();
  }
  SeededRandom random(seed);
  std::multiset<std::string> seen;
  std::uint64_t cookie = 0;
  for (int round = 0;; ++round) {
    std::size_t shown = 0;
    REQUIRE(f.drive->list_directory(root_inode, cookie, round % 2 == 0, [&](const DirectoryEntry& entry) {
      if (shown == 50) return false;
      ++shown;
      seen.insert(std::string(entry.name));
      cookie = entry.cookie;
      return true;
    }));
    if (shown == 0) break;
    if (round < 40) {
      const std::string extra = "extra" + std::to_string(random.below(30));
      if (!f.drive->unlink(root_inode, extra)) f.make_file(root_inode, extra);
    }
    if (round % 7 == 0) REQUIRE(f.drive->commit());
    if (round % 11 == 0) f.runtime.run_until_idle();
  }
  for (const std::string& name : steady) {
    INFO(name);
    REQUIRE(seen.count(name) == 1);
  }
  CHECK(seen.count(".") == 1);
  CHECK(seen.count("..") == 1);
}

TEST_CASE("what is deleted before it is shipped never leaves the machine") {
  DriveFixture f;
  const Attributes file = f.make_file(root_inode, "temporary");
  f.write(file.inode, 0, f.random.bytes(5'000'000));
  REQUIRE(f.drive->commit());
  REQUIRE(f.drive->unlink(root_inode, "temporary"));
  f.drive->forget(file.inode, 1);
  f.sync_full();
  CHECK(f.drive->status().counters.at("segments_shipped") == 0);
  CHECK(f.engine.stored_bytes() < 100'000);  // the journal tells of the name and its end
}

TEST_CASE("a small file that is deleted beside a large one is blanked before both would be shipped") {
  DriveFixture f;
  const auto segment = [&] {
    Bytes found;
    for (const auto& [path, content] : f.disk->snapshot())
      if (path.ends_with(".seg") && content.size() > found.size()) found = content;
    return found;
  };
  f.write(f.make_file(root_inode, "large").inode, 0, f.random.bytes(3'000'000));
  const Attributes file = f.make_file(root_inode, "small");
  f.write(file.inode, 0, f.random.bytes(100'000));
  REQUIRE(f.drive->commit());
  const Bytes before = segment();
  REQUIRE(f.drive->unlink(root_inode, "small"));
  f.drive->forget(file.inode, 1);
  f.sync_full();
  const Bytes shipped = segment();
  CHECK(f.drive->status().counters.at("segments_shipped") == 1);
  REQUIRE(shipped.size() > 3'000'000);
  std::size_t changed = 0;
  for (std::size_t i = 0; i < std::min(before.size(), shipped.size()); ++i) changed += before[i] != shipped[i] ? 1 : 0;
  CHECK(changed > 99'000);
}

TEST_CASE("nodes see no header of a segment or frame, and no byte of content") {
  DriveFixture f;
  const Attributes file = f.make_file(root_inode, "file");
  f.write(file.inode, 0, Bytes(300'000, 0x41));
  f.sync_full();
  const std::string volume(as_text(f.keyring.volume().view()));
  for (const auto& node : f.engine.all()) {
    REQUIRE(node.objects.size() >= 2);
    for (const auto& [name, bytes] : node.objects) {
      const std::string_view body = as_text(bytes);
      CHECK(body.find("AAAA") == std::string_view::npos);
      CHECK(body.find("ATLSEGMT") == std::string_view::npos);
      CHECK(body.find(volume) == std::string_view::npos);
    }
  }
  // A frame header says its extent id and length in the clear only on this computer, to holders of the key.
  Bytes plain(frame_header_bytes);
  encode_frame_header({ExtentId(1), extent_bytes_max, 1}, std::span<std::uint8_t, frame_header_bytes>(plain.data(), frame_header_bytes));
  for (const auto& node : f.engine.all())
    for (const auto& [name, bytes] : node.objects)
      CHECK(as_text(bytes).find(as_text(ByteView(plain).first(12))) == std::string_view::npos);
}

TEST_CASE("overwriting a file many times leaves about one copy of it on the nodes") {
  DriveOptions options;
  options.gc_grace = Duration(0);
  DriveFixture f({3, 6}, options);
  const Attributes file = f.make_file(root_inode, "file");
  Bytes content;
  for (int i = 0; i < effort(12, 7); ++i) {
    content = f.random.bytes(20'000'000);
    f.write(file.inode, 0, content);
    if (i % 3 == 0) f.sync_full();
  }
  auto collected = f.drive->collect_garbage(true, {});
  INFO((collected ? std::string() : collected.error().what));
  REQUIRE(collected);
  CHECK(f.engine.stored_bytes() <= content.size() * 2 * 3 / 2);
  CHECK(f.engine.stored_bytes() >= content.size() * 2);
  REQUIRE(f.drive->drop_cache());
  CHECK(f.read(file.inode, 0, content.size()) == content);
}

TEST_CASE("fsynced files survive every crash, and the drive stays a prefix of its history") {
  const std::uint64_t seed = GENERATE(range<std::uint64_t>(1, effort(60, 16)));
  CAPTURE(seed);
  DriveFixture f({2, 3}, {}, seed);
  // One writer numbers its operations; after a crash the tree must be that of some number not before the last fsync.
  std::vector<std::map<std::string, Bytes>> history(1);
  std::size_t fsynced = 0;
  const auto tree_of = [&]() {
    std::map<std::string, Bytes> tree;
    std::vector<std::pair<std::string, InodeNumber>> names;
    REQUIRE(f.drive->list_directory(root_inode, 2, false, [&](const DirectoryEntry& entry) {
      names.emplace_back(entry.name, entry.inode);
      return true;
    }));
    for (const auto& [name, inode] : names) tree[name] = f.read(inode, 0, 400'000);
    return tree;
  };
  SeededRandom random(seed * 77);
  for (int life = 0; life < 3; ++life) {
    const std::size_t steps = 5 + random.below(40);
    for (std::size_t step = 0; step < steps; ++step) {
      std::map<std::string, Bytes> next = history.back();
      const std::string name = "f" + std::to_string(random.below(5));
      const std::string other = "f" + std::to_string(random.below(5));
      switch (random.below(6)) {
        case 0:
          if (next.erase(name) > 0) {
            const auto inode = f.drive->lookup(root_inode, name)->inode;
            REQUIRE(f.drive->unlink(root_inode, name));
            f.drive->forget(inode, 1'000'000);
          }
          break;
        case 1:
          if (next.contains(name) && name != other) {
            next[other] = next[name];
            next.erase(name);
            REQUIRE(f.drive->rename(root_inode, name, root_inode, other, RenameMode::replace));
          }
          break;
        case 2:
          f.runtime.advance(std::chrono::milliseconds(random.below(1500)));
          break;
        default: {
          if (!next.contains(name)) f.make_file(root_inode, name);
          const auto inode = f.drive->lookup(root_inode, name)->inode;
          history.push_back(next);
          history.back()[name] = history.back().contains(name) ? history.back()[name] : Bytes();
          next = history.back();
          const Bytes bytes = random.bytes(1 + random.below(random.chance(0.3) ? 300'000 : 3'000));
          const std::uint64_t offset = random.below(3) * 1'000;
          f.write(inode, offset, bytes);
          Bytes& content = next[name];
          if (content.size() < offset + bytes.size()) content.resize(offset + bytes.size());
          std::copy(bytes.begin(), bytes.end(), content.begin() + static_cast<std::ptrdiff_t>(offset));
        }
      }
      history.push_back(next);
      if (random.chance(0.15)) {
        REQUIRE(f.drive->commit());
        fsynced = history.size() - 1;
      }
      if (random.chance(0.05)) f.sync_full();
    }
    f.crash(random.below(1'000'000), random.chance(0.3));
    f.open();
    const auto tree = tree_of();
    std::size_t found = history.size();
    for (std::size_t i = history.size(); i-- > fsynced;) {
      if (history[i] == tree) {
        found = i;
        break;
      }
    }
    INFO("life " << life << ", fsynced " << fsynced << " of " << history.size());
    REQUIRE(found != history.size());
    history.resize(found + 1);
    fsynced = 0;
    for (std::size_t i = 0; i <= found; ++i) fsynced = i;
    REQUIRE(f.drive->commit());
  }
}

TEST_CASE("A write that is served after the times which the kernel told with it leaves them alone") {
  DriveFixture f;
  const Attributes file = f.make_file(root_inode, "file");
  const auto times = [&] {
    const auto now = f.drive->attributes(file.inode);
    REQUIRE(now);
    CHECK(now->mtime == now->ctime);
    return now->mtime;
  };
  const Timestamp told{1'700'000'000, 123'456'789};
  AttributeChange change;
  change.mtime = change.ctime = told;
  f.write(file.inode, 0, f.random.bytes(5000));
  CHECK(times() != told);
  REQUIRE(f.drive->change_attributes(file.inode, change));
  f.runtime.advance(std::chrono::milliseconds(12));
  // Whole blocks are logged at once, ends when they are flushed.
  f.write(file.inode, 5000, f.random.bytes(300'000));
  CHECK(times() == told);
  REQUIRE(f.drive->sync(SyncLevel::local, std::nullopt, {}, {}));
  CHECK(times() == told);
  f.runtime.advance(std::chrono::seconds(5));
  f.write(file.inode, 0, f.random.bytes(10));
  CHECK(times() != told);
  REQUIRE(f.drive->change_attributes(file.inode, change));
  f.crash(3);
  f.open();
  f.write(file.inode, 0, f.random.bytes(10));
  CHECK(times() != told);
}
