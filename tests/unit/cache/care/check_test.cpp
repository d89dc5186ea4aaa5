// What a check finds, and what it lets mend.
#include "cache/drive/paths.h"
#include "cache/index/index_store.h"
#include "tests/unit/cache/care/cared.h"

using namespace atl;

namespace {

CheckReport checked(Cared& f, CheckOptions options = {}) {
  auto report = f.drive->care().check(options, {}, {});
  INFO((report ? std::string() : report.error().what));
  REQUIRE(report);
  return *report;
}

/// The name of a shard that lies on the node.
std::string a_shard(FakeEngine::FakeNode& node) {
  for (const auto& [name, body] : node.objects)
    if (Cared::is_shard(body)) return name;
  FAIL("no shard lies there");
  return {};
}

std::uint64_t shard_bytes(Cared& f) {
  std::uint64_t sum = 0;
  for (const auto& node : f.engine.all())
    for (const auto& [name, body] : node.objects) sum += Cared::is_shard(body) ? body.size() : 0;
  return sum;
}

const CheckedNode& on(const CheckReport& report, const FakeEngine::FakeNode& node) {
  return *std::find_if(report.nodes.begin(), report.nodes.end(), [&](const CheckedNode& entry) { return entry.node == node.spec.id; });
}

CheckOptions reading() { return {100, false, false}; }

}  // namespace

TEST_CASE("A check of a drive that is well finds nothing, and has read every byte on its nodes", "[check]") {
  Cared f({3, 6}, 1);
  const std::uint64_t before = f.engine.counters().node_read_bytes;
  const CheckReport listed = checked(f);
  CHECK(listed.sound());
  CHECK(listed.complete());
  CHECK(listed.index_compared);
  CHECK(listed.index_rows > 5);
  CHECK(listed.journal_records > 5);
  CHECK(listed.shards == listed.segments * 6);
  CHECK(f.engine.counters().node_read_bytes == before);
  const CheckReport read = checked(f, reading());
  CHECK(read.sound());
  CHECK(read.read_bytes == shard_bytes(f));
  CHECK(f.engine.counters().node_read_bytes - before == shard_bytes(f));
  CHECK(read.found == 0);
  for (const CheckedNode& node : read.nodes) CHECK(node.strange == 0);
  const auto part = checked(f, {25, false, false}).read_bytes;
  CHECK(part > 0);
  CHECK(part < shard_bytes(f) / 2);
}

TEST_CASE("A shard that is gone is found by listing, with the file that it touches, and stored again", "[check]") {
  Cared f({3, 6}, 0);
  auto& node = f.engine.all()[f.a_home()];
  const std::string name = a_shard(node);
  const Bytes body = node.objects.at(name);
  node.objects.erase(name);
  const CheckReport report = checked(f);
  CHECK_FALSE(report.sound());
  CHECK(report.found == 1);
  CHECK(report.left == 1);
  CHECK(on(report, node).missing == 1);
  CHECK(report.lost_segments == 0);
  CHECK(report.weakened_files.names == std::vector<std::string>{"file"});
  const CheckReport mended = checked(f, {0, true, false});
  CHECK(mended.found == 1);
  CHECK(mended.left == 0);
  CHECK(mended.sound());
  CHECK(node.objects.at(name) == body);
  CHECK(checked(f).found == 0);
}

TEST_CASE("A flipped bit, a cut end and a spoilt beginning are found by reading, and mended", "[check]") {
  const int how = GENERATE(0, 1, 2);
  CAPTURE(how);
  Cared f({3, 6}, 0);
  auto& node = f.engine.all()[2];
  const std::string name = a_shard(node);
  Bytes& body = node.objects.at(name);
  const Bytes whole = body;
  if (how == 0) body[body.size() - 100] ^= 4;
  if (how == 1) body.resize(body.size() - 1);
  if (how == 2) body[1] ^= 4;
  CHECK(checked(f).found == 0);  // it is there
  const CheckReport report = checked(f, reading());
  CHECK(report.found == 1);
  CHECK(on(report, node).damaged == 1);
  CHECK_FALSE(report.sound());
  // Known from now on, also to a check that only lists.
  CHECK(checked(f).found == 1);
  CHECK(checked(f, {100, true, false}).left == 0);
  const bool mended = node.objects.at(name) == whole;  // their bytes would fill pages
  CHECK(mended);
  CHECK(checked(f, reading()).sound());
}

TEST_CASE("What cannot be brought back is told, with the files, and nothing is made up", "[check]") {
  Cared f({3, 6}, 0);
  const auto other = f.make_file(root_inode, "whole").inode;
  for (std::size_t i = 0; i < 4; ++i) {
    auto& objects = f.engine.all()[i].objects;
    std::erase_if(objects, [](const auto& object) { return Cared::is_shard(object.second); });
  }
  REQUIRE(f.drive->drop_cache());
  f.write(other, 0, f.random.bytes(1u << 20));
  f.sync_full();
  const CheckReport report = checked(f, {0, true, false});
  CHECK(report.lost_segments > 0);
  CHECK(report.left > 0);
  CHECK_FALSE(report.sound());
  CHECK(report.lost_files.names == std::vector<std::string>{"file"});
}

TEST_CASE("A node that is away is no damage; but the check is not complete without it", "[check]") {
  Cared f({3, 6}, 0);
  f.engine.all()[1].absent = true;
  f.engine.changed();
  f.runtime.run_until_idle();
  const CheckReport report = checked(f, reading());
  CHECK(report.sound());
  CHECK_FALSE(report.complete());
  CHECK_FALSE(on(report, f.engine.all()[1]).listed);
  CHECK(on(report, f.engine.all()[1]).shards > 0);
  CHECK(report.found == 0);
}

TEST_CASE("Objects that no record names are counted, and stay", "[check]") {
  Cared f({3, 6}, 0);
  auto& node = f.engine.all()[0];
  std::string name = a_shard(node);
  name.back() = name.back() == '0' ? '1' : '0';
  node.objects[name] = Bytes(100);
  const CheckReport report = checked(f, {0, true, false});
  CHECK(report.sound());
  CHECK(on(report, node).strange == 1);
  CHECK(node.objects.contains(name));
}

TEST_CASE("A reading that was interrupted goes on where it was, also after a crash", "[check]") {
  Cared f({3, 6}, 0);
  for (int i = 0; i < 6; ++i) {
    // Each is a segment too large to be merged with others.
    f.write(f.make_file(root_inode, "more" + std::to_string(i)).inode, 0, f.random.bytes(9'000'000));
    f.sync_full();
  }
  const std::uint64_t all = checked(f, reading()).read_bytes;
  std::stop_source stop;
  const auto cut = f.drive->care().check(
      reading(),
      [&](const CheckProgress& now) {
        if (now.step == CheckProgress::Step::reading && now.done * 3 > now.total) stop.request_stop();
      },
      stop.get_token());
  REQUIRE_FALSE(cut);
  CHECK(cut.error().code == Code::cancelled);
  f.crash(3);
  f.open();
  const CheckReport rest = checked(f, reading());
  CHECK(rest.resumed_after);
  CHECK(rest.read_bytes < all * 9 / 10);
  CHECK(rest.read_bytes > all / 4);
  CHECK(checked(f, reading()).read_bytes == all);
}

TEST_CASE("A row of the index that the journal does not explain is found, named, and made anew at the next mount", "[check]") {
  Cared f({3, 6}, 0);
  f.close();
  {
    auto index = IndexStore::open(*f.disk, index_path(f.directory()));
    REQUIRE(index);
    IndexChanges change;
    change.upto = (*index)->applied();
    InodeRow row = *(*index)->inode(f.file);
    row.size += 1;
    change.inodes.emplace_back(f.file, std::make_shared<const InodeRow>(row));
    REQUIRE((*index)->apply({change}));
  }
  f.open();
  const CheckReport report = checked(f);
  CHECK_FALSE(report.sound());
  CHECK(report.index_damage.starts_with("1 of "));
  CHECK(report.weakened_files.names == std::vector<std::string>{"file"});
  CHECK(checked(f, {0, true, false}).index_at_mount);
  f.close();
  f.open();
  const CheckReport after = checked(f);
  CHECK(after.sound());
  CHECK(after.index_rebuilt);
  CHECK(f.drive->attributes(f.file)->size == f.content.size());
  CHECK(f.whole());
}

TEST_CASE("A damaged journal is found while the drive is in use, and a checkpoint takes its place", "[check]") {
  Cared f({3, 6}, 0);
  const auto names = f.disk->list(journal_directory(f.directory()));
  REQUIRE(names);
  const std::string path = journal_directory(f.directory()) + "/" + names->front();
  const Bytes before = f.disk->content(path);
  f.disk->damage(path, 300, Bytes(1, static_cast<std::uint8_t>(before[300] ^ 1)));
  const CheckReport report = checked(f);
  CHECK_FALSE(report.sound());
  CHECK_FALSE(report.journal_damage.empty());
  const CheckReport mended = checked(f, {0, true, false});
  CHECK(mended.journal_mended);
  CHECK(mended.sound());
  f.write(f.file, 0, f.random.bytes(1000));
  f.write(f.file, 0, ByteView(f.content).first(1000));
  REQUIRE(f.drive->commit());
  f.crash(5);
  f.open();
  CHECK(checked(f).sound());
  CHECK(f.whole());
  f.sync_full();
}

TEST_CASE("A damaged checkpoint is found before it is needed, and written again", "[check]") {
  Cared f({3, 6}, 0);
  REQUIRE(f.drive->collect_garbage(true, {}));
  const auto names = f.disk->list(checkpoint_directory(f.directory()));
  REQUIRE(names);
  REQUIRE(names->size() == 1);
  const std::string path = checkpoint_directory(f.directory()) + "/" + names->front();
  f.disk->damage(path, 70, Bytes(1, static_cast<std::uint8_t>(f.disk->content(path)[70] ^ 1)));
  const CheckReport report = checked(f);
  CHECK_FALSE(report.sound());
  CHECK_FALSE(report.checkpoint_damage.empty());
  CHECK(checked(f, {0, true, false}).checkpoint_mended);
  CHECK(checked(f).sound());
  CHECK(checked(f).index_compared);
}

TEST_CASE("A check goes on beside saving, and finds nothing wrong in what changes meanwhile", "[check]") {
  Cared f({3, 6}, 1);
  int saves = 0;
  const auto report = f.drive->care().check(
      reading(),
      [&](const CheckProgress&) {
        if (++saves > 12) return;
        f.write(f.file, 100'000ull * static_cast<std::uint64_t>(saves), f.random.bytes(200'000));
        if (saves % 3 == 0) (void)f.drive->collect_garbage(false, {});
        REQUIRE(f.drive->commit());
      },
      {});
  REQUIRE(report);
  CHECK(saves > 6);
  CHECK(report->sound());
  CHECK(report->found == 0);
}
