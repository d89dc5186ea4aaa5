// Objects of metadata and heads: what was stored comes back, and nothing else is taken for it.
#include "cache/heads/head.h"

#include <catch2/catch.hpp>

#include "cache/heads/stretch.h"
#include "tests/support/seeded_random.h"

using namespace atl;

namespace {

struct Keys {
  SeededRandom random{1};
  Keyring keyring = Keyring::generate(random);
  MetaSealer sealer = *MetaSealer::make(keyring);
};

NodeId node_of(std::uint8_t number) {
  NodeId id;
  id.bytes[0] = number;
  return id;
}

Head some_head(Keys& keys) {
  Head head;
  head.volume = keys.keyring.volume();
  head.epoch = 2;
  head.generation = 7;
  head.device = keys.random.id<DeviceId>();
  head.made_at = {1'700'000'000, 5};
  head.lsn = Lsn(30);
  head.chain[3] = 9;
  head.checkpoint = Lsn(10);
  head.checkpoint_bytes = 5'000'000;
  head.checkpoint_parts = {keys.random.id<PartId>(), keys.random.id<PartId>()};
  head.stretches = {{Lsn(11), Lsn(20), 400, MetaName::part(MetaKind::journal, keys.random.id<PartId>())},
                    {Lsn(21), Lsn(25), 90, MetaName::head(1, 6)},
                    {Lsn(26), Lsn(30), 80, MetaName::head(2, 7)}};
  head.nodes = {{node_of(1), "dir:/a", {{"country", "de"}}}, {node_of(2), "dir:/b", {}}};
  head.wrapped_keyring = keys.random.bytes(130);
  head.supplement = keys.random.bytes(40);
  head.supplement_count = 2;
  head.inside = keys.random.bytes(80);
  return head;
}

}  // namespace

TEST_CASE("a head comes back as it was") {
  Keys keys;
  const Head head = some_head(keys);
  const auto bytes = encode_head(head, keys.keyring);
  REQUIRE(bytes);
  const auto back = decode_head(*bytes, keys.keyring);
  REQUIRE(back);
  CHECK(back->name() == head.name());
  CHECK(back->device == head.device);
  CHECK(back->lsn == head.lsn);
  CHECK(back->chain == head.chain);
  CHECK(back->checkpoint_parts == head.checkpoint_parts);
  CHECK(back->stretches == head.stretches);
  CHECK(back->nodes == head.nodes);
  CHECK(back->wrapped_keyring == head.wrapped_keyring);
  CHECK(back->supplement == head.supplement);
  CHECK(back->inside == head.inside);
  CHECK(back->needs() == std::vector<MetaName>{MetaName::part(MetaKind::checkpoint, head.checkpoint_parts[0]),
                                               MetaName::part(MetaKind::checkpoint, head.checkpoint_parts[1]), head.stretches[0].where,
                                               MetaName::head(1, 6)});
}

TEST_CASE("a head with any byte changed, cut, or with a gap in its history is refused") {
  Keys keys;
  const Bytes bytes = *encode_head(some_head(keys), keys.keyring);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    Bytes changed = bytes;
    changed[i] ^= 0x10;
    CHECK_FALSE(decode_head(changed, keys.keyring));
    CHECK_FALSE(decode_head(ByteView(bytes).first(i), keys.keyring));
  }
  Head gap = some_head(keys);
  gap.stretches.erase(gap.stretches.begin() + 1);
  CHECK_FALSE(decode_head(*encode_head(gap, keys.keyring), keys.keyring));
  SeededRandom other_random(9);
  const Keyring other = Keyring::generate(other_random);
  CHECK_FALSE(decode_head(bytes, other));
}

TEST_CASE("an object of metadata opens under its own name only, and shows no byte of what is in it") {
  Keys keys;
  const Bytes plain(3'000, 0x41);
  const MetaName name = MetaName::head(1, 5);
  const Bytes object = keys.sealer.seal(name, plain, keys.random);
  CHECK(object.size() == MetaSealer::object_bytes(plain.size()));
  CHECK(as_text(object).find("AAAA") == std::string_view::npos);
  CHECK(*keys.sealer.open(name, object) == plain);
  for (const MetaName& other : {MetaName::head(1, 6), MetaName::head(2, 5), MetaName::claim(1), MetaName::part(MetaKind::journal, {}),
                                MetaName::part(MetaKind::checkpoint, {})})
    CHECK_FALSE(keys.sealer.open(other, object));
  for (std::size_t i = 0; i < object.size(); i += 7) {
    Bytes changed = object;
    changed[i] ^= 1;
    CHECK_FALSE(keys.sealer.open(name, changed));
  }
  CHECK_FALSE(keys.sealer.open(name, ByteView(object).first(object.size() - 1)));
  CHECK_FALSE(keys.sealer.open(name, {}));
}

TEST_CASE("sizes of metadata fall into few classes, at little cost") {
  std::set<std::size_t> classes;
  for (std::size_t bytes = 1; bytes <= 1u << 20; bytes += 97) {
    const std::size_t size = MetaSealer::object_bytes(bytes);
    classes.insert(size);
    CHECK(size >= bytes);
    CHECK(size <= std::max<std::size_t>(512, (bytes + 128) * 107 / 100 + 64));
  }
  CHECK(classes.size() < 200);
}

TEST_CASE("names on two nodes have nothing in common, and heads are found by their prefix") {
  Keys keys;
  const MetaName head = MetaName::head(3, 0xabcdef);
  const std::string on_1 = keys.sealer.object_name(head, node_of(1));
  const std::string on_2 = keys.sealer.object_name(head, node_of(2));
  CHECK(on_1.substr(0, 10) != on_2.substr(0, 10));
  CHECK(on_1.starts_with(keys.sealer.head_prefix(node_of(1))));
  CHECK(keys.sealer.parse_head(on_1, node_of(1)) == head);
  CHECK_FALSE(keys.sealer.parse_head(on_1, node_of(2)));
  CHECK_FALSE(keys.sealer.parse_head(on_1 + "0", node_of(1)));
  const MetaName part = MetaName::part(MetaKind::journal, keys.random.id<PartId>());
  CHECK(keys.sealer.object_name(part, node_of(1)).starts_with(keys.sealer.part_prefix(node_of(1))));
  CHECK(keys.sealer.object_name(part, node_of(1)).substr(10) != keys.sealer.object_name(part, node_of(2)).substr(10));
  CHECK_FALSE(keys.sealer.parse_head(keys.sealer.object_name(part, node_of(1)), node_of(1)));
}

TEST_CASE("a stretch of the journal comes back batch by batch; what is no stretch is refused") {
  Keys keys;
  StretchPacker packer;
  std::vector<Bytes> bodies;
  ChainHash chain{};
  chain[0] = 1;
  Lsn first(5);
  for (std::uint32_t i = 1; i <= 20; ++i) {
    bodies.push_back(keys.random.bytes(i * 10));
    JournalBatch batch;
    batch.first = first;
    batch.count = i;
    batch.body = bodies.back();
    batch.previous = chain;
    chain[1] = static_cast<std::uint8_t>(i);
    batch.chain = chain;
    packer.add(batch);
    first = Lsn(first.value + i);
  }
  CHECK(packer.first() == Lsn(5));
  CHECK(packer.last() == Lsn(first.value - 1));
  const Bytes packed = *packer.pack();
  std::size_t seen = 0;
  REQUIRE(unpack_stretch(packed, [&](const JournalBatch& batch) -> Result<> {
    CHECK(Bytes(batch.body.begin(), batch.body.end()) == bodies[seen]);
    CHECK(batch.previous[1] == (seen == 0 ? 0 : seen));
    CHECK(batch.chain[1] == seen + 1);
    ++seen;
    return {};
  }));
  CHECK(seen == 20);
  const auto nothing = [](const JournalBatch&) -> Result<> { return {}; };
  CHECK_FALSE(unpack_stretch(ByteView(packed).first(packed.size() / 2), nothing));
  CHECK_FALSE(unpack_stretch({}, nothing));
  CHECK_FALSE(unpack_stretch(keys.random.bytes(200), nothing));
}
