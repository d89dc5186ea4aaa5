// An owner and its delegate over the same nodes: what one does, the other finds, and believes no more of it than is true.
#include "cache/delegate/delegate.h"

#include <optional>

#include "cache/care/delegate_keeper.h"
#include "cache/erasure/attempt_macs.h"
#include "tests/unit/cache/care/cared.h"

using namespace atl;

namespace {

DelegateOptions at_once() {
  DelegateOptions options;
  options.stand_in_after = {};
  options.repair_grace = Duration{};
  options.patience = {};
  options.state_path = "/delegate/state";
  return options;
}

/// A cared drive of 2/4 on six nodes, and a delegate of it elsewhere.
struct Delegated : Cared {
  explicit Delegated(DelegateOptions options_ = at_once()) : Cared({2, 4}, 2), delegate_options(options_) {
    REQUIRE(elsewhere.make_directory("/delegate"));
    auto made = keeper().make_delegate("drive", {});
    REQUIRE(made);
    grant_text = made->file;
    device = made->device;
    begin();
  }
  DelegateKeeper& keeper() { return *delegate_keeper(drive->care()); }
  DelegateGrant grant() const {
    auto decoded = decode_delegate_grant(grant_text);
    REQUIRE(decoded);
    return std::move(*decoded);
  }
  void begin() {
    const auto reach = [this](const std::vector<DelegatedNode>&, const KeyPair&) -> Result<Engine*> { return &engine; };
    delegate.emplace(grant(), Delegate::Seams{elsewhere, runtime, random, reach}, delegate_options, std::stop_token());
  }
  DelegateRound round() {
    auto done = delegate->round();
    INFO((done ? std::string() : done.error().what));
    REQUIRE(done);
    return *done;
  }
  std::size_t lose_a_home() {
    const std::size_t lost = a_home();
    engine.all()[lost].absent = true;
    engine.changed();
    return lost;
  }
  DelegateStatus status() {
    REQUIRE(keeper().delegates().size() == 1);
    return keeper().delegates().front();
  }
  /// The name that an object of a shard has, or had, on a node.
  std::string name_on(const DelegateView& view, SegmentId segment, ShardIndex shard, std::size_t node) {
    return shard_object_name(grant().keys.names(), view.segments.at(segment).attempt, shard, engine.all()[node].spec.id);
  }
  /// The newest view, as any node gives it.
  DelegateView view() {
    const DelegateGrant given = grant();
    const NodeId& node = engine.all()[0].spec.id;
    const std::string prefix = given.keys.prefix(DelegateObject::view, node);
    std::optional<DelegateView> newest;
    for (const auto& [name, body] : engine.all()[0].objects)
      if (name.starts_with(prefix))
        newest = decode_delegate_view(given.keys.open(DelegateObject::view, *DelegateKeys::number_of(name), body).value()).value();
    return newest.value();
  }
  /// What anybody who has the file could leave on the nodes.
  void leave_report(const std::vector<DelegatedMove>& moves) {
    const DelegateGrant given = grant();
    const Bytes object = given.keys.seal(DelegateObject::report, 7, encode_delegate_report({given.volume, {}, moves}), random);
    for (auto& node : engine.all()) node.objects[given.keys.object_name(DelegateObject::report, 7, node.spec.id)] = object;
  }
  std::size_t reports() {
    std::size_t count = 0;
    for (const auto& node : engine.all())
      for (const auto& [name, body] : node.objects) count += name.starts_with(grant().keys.prefix(DelegateObject::report, node.spec.id)) ? 1 : 0;
    return count;
  }
  /// A move of the first shard of the drive's first segment to a node that holds none of it.
  std::pair<DelegatedMove, std::size_t> some_move(bool stored) {
    const DelegateView now = view();
    const auto& [segment, known] = *now.segments.begin();
    for (std::size_t i = 0; i < engine.all().size(); ++i) {
      const NodeId& node = engine.all()[i].spec.id;
      if (std::any_of(known.placed.begin(), known.placed.end(), [&](const ShardHome& home) { return home.node == node; })) continue;
      const ShardHome& home = known.placed.front();
      return {{segment, known.attempt, home.shard, home.node, node, stored}, i};
    }
    FAIL("every node holds a shard");
    return {};
  }

  DelegateOptions delegate_options;
  MemoryDisk elsewhere;
  std::string grant_text;
  KeyId device;
  std::optional<Delegate> delegate;
};

}  // namespace

TEST_CASE("A delegate rebuilds what a lost node held while the owner is away, who takes it over", "[delegate]") {
  Delegated f;
  f.close();
  const std::size_t lost = [&] {
    // The drive is not there to be asked: whichever node its view names first.
    const NodeId node = f.view().segments.begin()->second.placed.front().node;
    for (std::size_t i = 0; i < f.engine.all().size(); ++i)
      if (f.engine.all()[i].spec.id == node) return i;
    return f.engine.all().size();
  }();
  f.engine.all()[lost].absent = true;
  const DelegateRound round = f.round();
  CHECK(round.owner_away);
  CHECK(round.shards_rebuilt >= 1);
  CHECK(round.segments_waiting == 0);
  CHECK(round.worst_margin == 2);
  CHECK(round.audits_wrong == 0);
  CHECK(round.absent == std::vector<std::string>{f.engine.all()[lost].spec.url});
  // What it did is known to the next round, and to one that begins anew.
  CHECK(f.round().shards_rebuilt == 0);
  f.begin();
  CHECK(f.round().shards_rebuilt == 0);

  f.open();
  f.step(std::chrono::minutes(2));
  CHECK(f.status().taken_over == round.shards_rebuilt);
  CHECK(f.status().refused == 0);
  CHECK(f.shards_on(lost) == 0);
  CHECK(f.drive->care().status().worst_margin == 2);
  CHECK(f.counter("shards_rebuilt") == 0);  // not once more by the owner
  CHECK(f.whole());
  // The lost node comes back: what it holds is of no use any more, and goes; so do the reports.
  f.engine.all()[lost].absent = false;
  f.engine.changed();
  f.step(std::chrono::minutes(30));
  REQUIRE(f.drive->collect_garbage(true, {}));
  const auto [objects, homes] = f.objects_and_homes();
  CHECK(objects == homes);
  f.step(std::chrono::minutes(30));
  CHECK(f.reports() == 0);
}

TEST_CASE("While the owner is there a delegate audits, and repairs nothing", "[delegate]") {
  DelegateOptions patient = at_once();
  patient.stand_in_after = std::chrono::hours(24);
  Delegated f(patient);
  f.lose_a_home();
  const DelegateRound round = f.round();
  CHECK_FALSE(round.owner_away);
  CHECK(round.audits > 0);
  CHECK(round.shards_rebuilt == 0);
  CHECK(round.segments_waiting > 0);
}

TEST_CASE("A delegate finds a shard that rotted, rebuilds it elsewhere, and removes nothing", "[delegate]") {
  DelegateOptions thorough = at_once();
  thorough.audits = 400;
  Delegated f(thorough);
  const DelegateView view = f.view();
  const auto& [segment, known] = *view.segments.begin();
  const ShardHome home = known.placed.front();
  for (auto& node : f.engine.all()) {
    if (node.spec.id != home.node) continue;
    Bytes& body = node.objects.at(shard_object_name(f.grant().keys.names(), known.attempt, home.shard, home.node));
    for (std::size_t at = shard_header_bytes; at < body.size(); at += 100) body[at] ^= 1;
  }
  f.close();
  std::vector<std::size_t> before;
  for (const auto& node : f.engine.all()) before.push_back(node.objects.size());
  const DelegateRound round = f.round();
  CHECK(round.audits_wrong >= 1);
  CHECK(round.shards_rebuilt == 1);
  CHECK(round.worst_margin == 2);
  for (std::size_t i = 0; i < before.size(); ++i) CHECK(f.engine.all()[i].objects.size() >= before[i]);
  f.open();
  f.step(std::chrono::minutes(2));
  CHECK(f.status().taken_over == 1);
  CHECK(f.whole());
}

TEST_CASE("A delegate's claim about a shard is not believed where the bytes are not the shard's", "[delegate]") {
  Delegated f;
  const auto [move, node] = f.some_move(true);
  const DelegateView view = f.view();
  const std::string name = f.name_on(view, move.segment, move.shard, node);
  SECTION("Nothing is there") {}
  SECTION("Bytes of the right size and none of the right content") {
    f.engine.all()[node].objects[name] = f.random.bytes(ShardGeometry::of({2, 4}, view.segments.at(move.segment).shipped_bytes).object_bytes());
  }
  SECTION("The whole shard but for one bit") {
    for (const auto& other : f.engine.all())
      if (other.spec.id == move.from) f.engine.all()[node].objects[name] = other.objects.at(shard_object_name(f.grant().keys.names(), move.attempt, move.shard, move.from));
    f.engine.all()[node].objects.at(name).back() ^= 1;
  }
  SECTION("Other bytes, with MACs by the key that every delegate has") {
    const DelegatedSegment& known = view.segments.at(move.segment);
    const ShardGeometry geometry = ShardGeometry::of({2, 4}, known.shipped_bytes);
    const AttemptMacs macs(SecretKey::from(known.mac_key));
    const auto header = shard_header();
    Bytes forged(header.begin(), header.end());
    for (std::uint32_t leaf = 0; leaf < geometry.leaves; ++leaf) {
      const Bytes payload = f.random.bytes(leaf_bytes);
      std::array<std::uint8_t, leaf_mac_bytes> mac;
      macs.compute(move.shard, leaf, payload, mac);
      forged.insert(forged.end(), payload.begin(), payload.end());
      forged.insert(forged.end(), mac.begin(), mac.end());
    }
    f.engine.all()[node].objects[name] = std::move(forged);
  }
  f.leave_report({move});
  f.step(std::chrono::minutes(10));
  CHECK(f.status().taken_over == 0);
  CHECK(f.status().refused == 1);
  CHECK(f.shards_on(node) == 0);
  CHECK(f.drive->care().status().worst_margin == 2);
  CHECK(f.whole());
  // What lay there was found, and is removed.
  f.step(std::chrono::minutes(30));
  REQUIRE(f.drive->collect_garbage(true, {}));
  CHECK_FALSE(f.engine.all()[node].objects.contains(name));
}

TEST_CASE("What a delegate was about to store when it was killed is found and removed", "[delegate]") {
  Delegated f;
  const auto [move, node] = f.some_move(false);
  const std::string name = f.name_on(f.view(), move.segment, move.shard, node);
  f.engine.all()[node].objects[name] = f.random.bytes(100);
  f.leave_report({move});
  f.step(std::chrono::minutes(10));
  CHECK(f.status().taken_over == 0);
  CHECK(f.status().refused == 0);
  f.step(std::chrono::minutes(30));
  REQUIRE(f.drive->collect_garbage(true, {}));
  CHECK_FALSE(f.engine.all()[node].objects.contains(name));
  CHECK(f.whole());
}

TEST_CASE("A delegate writes where it will store a shard before it stores it", "[delegate]") {
  Delegated f;
  f.close();
  const NodeId lost = f.view().segments.begin()->second.placed.front().node;
  for (auto& node : f.engine.all())
    if (node.spec.id == lost) node.absent = true;
  // No node takes single objects: the report cannot be written, so that nothing may be stored.
  for (auto& node : f.engine.all()) node.refuses = true;
  const auto objects = [&] {
    std::size_t count = 0;
    for (const auto& node : f.engine.all()) count += node.objects.size();
    return count;
  };
  const std::size_t before = objects();
  CHECK(f.delegate->round().error().code == Code::unavailable);
  CHECK(objects() == before);
  // From then on each stored shard is named by a report.
  for (auto& node : f.engine.all()) node.refuses = false;
  CHECK(f.round().shards_rebuilt >= 1);
  CHECK(f.reports() >= 2);
}

TEST_CASE("A revoked delegate is told so, and gets no more lists of shards", "[delegate]") {
  Delegated f;
  CHECK(f.round().segments > 0);
  CHECK_FALSE(f.keeper().forget_delegate(KeyPair::generate(f.random).id(), {}).value());
  CHECK(f.keeper().forget_delegate(f.device, {}).value());
  CHECK(f.keeper().delegates().empty());
  CHECK(f.delegate->round().error().code == Code::not_permitted);
  f.step(std::chrono::minutes(10));
  for (const auto& node : f.engine.all()) {
    std::size_t left = 0;
    for (const auto& [name, body] : node.objects) left += name.starts_with(f.grant().keys.prefix(DelegateObject::view, node.spec.id)) ? 1 : 0;
    CHECK(left == 1);  // the mark
  }
  // Also for a computer that has never heard of it.
  f.close();
  f.open();
  f.step(std::chrono::minutes(10));
  CHECK(f.keeper().delegates().empty());
}

TEST_CASE("A list of shards follows the drive, and old ones go", "[delegate]") {
  Delegated f;
  const std::size_t before = f.view().segments.size();
  const InodeNumber more = f.make_file(root_inode, "more").inode;
  for (int i = 0; i < 5; ++i) {
    f.write(more, 0, f.random.bytes(2u << 20));
    f.sync_full();
    f.step(std::chrono::minutes(6));
  }
  CHECK(f.view().segments.size() > before);
  std::size_t left = 0;
  for (const auto& [name, body] : f.engine.all()[0].objects) left += name.starts_with(f.grant().keys.prefix(DelegateObject::view, f.engine.all()[0].spec.id)) ? 1 : 0;
  CHECK(left == 2);
  CHECK(f.round().segments == f.view().segments.size());
}

TEST_CASE("Objects that a node makes up are no delegates", "[delegate]") {
  Delegated f;
  const DelegateKeys stranger(f.random.id<DelegateId>(), SecretKey::random(f.random), f.grant().keys.names().clone());
  auto& node = f.engine.all()[0];
  node.objects[stranger.object_name(DelegateObject::view, 1, node.spec.id)] = f.random.bytes(512);
  node.objects[f.grant().keys.object_name(DelegateObject::revoked, 0, node.spec.id)] = f.random.bytes(512);
  node.objects[f.grant().keys.object_name(DelegateObject::view, 1ull << 60, node.spec.id)] = f.random.bytes(512);
  f.step(std::chrono::minutes(10));
  CHECK(f.status().device == f.device);
  CHECK(f.round().segments > 0);
}

TEST_CASE("Lists and reports come back as they were written, and no damaged byte passes", "[delegate]") {
  Delegated f;
  const DelegateView view = f.view();
  const Bytes encoded = encode_delegate_view(view);
  CHECK(decode_delegate_view(encoded) == view);
  for (std::size_t cut = 0; cut < encoded.size(); ++cut) CHECK_FALSE(decode_delegate_view(ByteView(encoded).first(cut)));
  const DelegateReport report{f.grant().volume, {5, 6}, {f.some_move(true).first, f.some_move(false).first}};
  CHECK(decode_delegate_report(encode_delegate_report(report)) == report);
  const DelegateGrant given = f.grant();
  CHECK(encode_delegate_grant(given) == f.grant_text);
  const Bytes object = given.keys.seal(DelegateObject::report, 3, encode_delegate_report(report), f.random);
  CHECK(given.keys.open(DelegateObject::report, 3, object).value() == encode_delegate_report(report));
  // It is one object, and no other.
  CHECK_FALSE(given.keys.open(DelegateObject::report, 4, object));
  CHECK_FALSE(given.keys.open(DelegateObject::view, 3, object));
  for (std::size_t at = 0; at < object.size(); at += 7) {
    Bytes damaged = object;
    damaged[at] ^= 0x40;
    const bool opens = given.keys.open(DelegateObject::report, 3, damaged).has_value();
    CHECK(opens == (at > 8 && at < 16));  // of the header, magic and format alone are looked at: the rest stands inside the box
  }
  CHECK_FALSE(decode_delegate_grant("{}"));
  CHECK(decode_delegate_grant("{\"atoll_delegate\": 2}").error().code == Code::newer_format);
}
