// What a node could do with what it holds: everything is found out, or does no harm.
#include <catch2/catch.hpp>

#include "cache/recovery/recovery.h"
#include "tests/support/drive_fixture.h"

using namespace atl;

namespace {

constexpr Duration patience = std::chrono::seconds(5);
using Tree = std::map<std::string, Bytes>;
using Objects = std::map<std::string, Bytes>;

struct Tampered : DriveFixture {
  explicit Tampered(Redundancy redundancy = {2, 4}) : DriveFixture(redundancy) {}
  std::vector<NodeSpec> specs() { return FakeEngine::specs(engine.all()); }
  void put(const std::string& name, const Bytes& bytes) {
    auto found = drive->lookup(root_inode, name);
    write(found ? found->inode : make_file(root_inode, name).inode, 0, bytes);
  }
  std::vector<Objects> objects() {
    std::vector<Objects> all;
    for (const auto& node : engine.all()) all.push_back(node.objects);
    return all;
  }
  void restore(const std::vector<Objects>& all) {
    for (std::size_t i = 0; i < all.size(); ++i) engine.all()[i].objects = all[i];
  }
  /// What comes back to a new computer; an error where it does not.
  Result<Tree> recovered() {
    lose_computer();
    auto survey = survey_heads(seams(), engine, specs(), keyring, patience);
    if (!survey) return fail(survey.error());
    if (!survey->head) return fail(Code::too_few_nodes, "no head");
    if (auto rebuilt = rebuild_state(seams(), directory(), engine, *survey->head, keyring, specs(), patience, {}); !rebuilt) return fail(rebuilt.error());
    DriveOptions read_only = options;
    read_only.read_only = true;
    auto opened = Drive::open(seams(), directory(), keyring, read_only);
    if (!opened) return fail(opened.error());
    drive = std::move(*opened);
    drive->start(engine);
    Tree tree;
    std::vector<std::pair<std::string, InodeNumber>> names;
    if (auto listed = drive->list_directory(root_inode, 2, false,
                                            [&](const DirectoryEntry& entry) {
                                              names.emplace_back(entry.name, entry.inode);
                                              return true;
                                            });
        !listed)
      return fail(listed.error());
    for (const auto& [name, inode] : names) {
      Bytes bytes(1'000'000);
      auto got = drive->read(inode, 0, bytes, false, {});
      if (!got) return fail(got.error());
      bytes.resize(*got);
      tree[name] = std::move(bytes);
    }
    return tree;
  }
};

std::string kind_of(const MetaSealer& sealer, const std::string& name, const NodeId& node) {
  if (name.starts_with(sealer.head_prefix(node))) return "head";
  if (name.starts_with(sealer.claim_prefix(node))) return "claim";
  if (name.starts_with(sealer.part_prefix(node))) return "part";
  return "shard";
}

/// Each way in which one object can be another one.
std::vector<Bytes> versions(const Bytes& whole, const Bytes& other, const Bytes& of_another_kind) {
  std::vector<Bytes> all;
  for (const std::size_t at : {std::size_t{0}, std::size_t{8}, std::size_t{9}, std::size_t{12}, std::size_t{16}, std::size_t{30}, std::size_t{40}, std::size_t{44}, whole.size() / 2, whole.size() - 17,
                               whole.size() - 1}) {
    all.push_back(whole);
    all.back()[at] ^= 0x41;
  }
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{16}, std::size_t{40}, whole.size() / 2, whole.size() - 1}) all.emplace_back(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
  all.push_back(whole);
  all.back().push_back(0);
  all.push_back(whole);
  std::fill(all.back().begin() + static_cast<std::ptrdiff_t>(whole.size() / 2), all.back().end(), 0);
  all.push_back(other);
  all.push_back(of_another_kind);
  return all;
}

}  // namespace

TEST_CASE("whatever nodes do with one object of any kind, what comes back is right, or an error", "[tampering]") {
  Tampered world;
  Tree made;
  std::vector<Tree> states;
  for (int i = 0; i < 4; ++i) {
    made["f" + std::to_string(i)] = world.random.bytes(40'000 + static_cast<std::size_t>(i));
    world.put("f" + std::to_string(i), made["f" + std::to_string(i)]);
    world.sync_full();
    states.push_back(made);
  }
  const MetaSealer sealer = *MetaSealer::make(world.keyring);
  const auto honest = world.objects();
  REQUIRE(world.recovered());
  std::map<std::string, std::size_t> tried;
  std::size_t refused = 0;
  // By every node at once, so that nobody's copy makes good for it; and by one, where the others must.
  for (const auto& [name, whole] : honest[0]) {
    const std::string kind = kind_of(sealer, name, world.engine.all()[0].spec.id);
    if (++tried[kind] > 4) continue;
    const auto find = [&](bool same) {
      for (const auto& [text, bytes] : honest[0])
        if (text != name && (kind_of(sealer, text, world.engine.all()[0].spec.id) == kind) == same) return bytes;
      return Bytes(100);
    };
    for (const Bytes& version : versions(whole, find(true), find(false))) {
      world.restore(honest);
      world.engine.all()[0].objects[name] = version;
      const auto one = world.recovered();
      INFO(kind << " " << name << ", now " << version.size() << " bytes: " << (one ? std::string() : one.error().what));
      REQUIRE(one);
      REQUIRE(*one == made);
      if (kind == "shard") continue;
      // The same object, as every other node calls it: copies are alike.
      world.restore(honest);
      for (auto& node : world.engine.all())
        for (auto& [text, bytes] : node.objects)
          if (bytes == whole) bytes = version;
      const auto all = world.recovered();
      if (all) {
        CHECK(std::find(states.begin(), states.end(), *all) != states.end());
      } else {
        ++refused;
        CHECK((all.error().code == Code::too_few_nodes || all.error().code == Code::corrupt || all.error().code == Code::newer_format));
      }
    }
  }
  CHECK(tried["head"] >= 3);
  CHECK(tried["part"] >= 1);
  CHECK(tried["claim"] >= 1);
  CHECK(tried["shard"] >= 3);
  CHECK(refused > 10);
}

TEST_CASE("an older state that any nodes serve never hides the newest that one node has", "[tampering]") {
  Tampered world;
  std::vector<Tree> states;
  std::vector<std::vector<Objects>> held;
  Tree made;
  for (int i = 0; i < 4; ++i) {
    made["file"] = world.random.bytes(30'000);
    made["f" + std::to_string(i)] = world.random.bytes(100);
    for (const auto& [name, bytes] : made) world.put(name, bytes);
    world.sync_full();
    states.push_back(made);
    held.push_back(world.objects());
  }
  // Heads, journal and all of an earlier moment; shards as they are, since garbage has its grace.
  const MetaSealer sealer = *MetaSealer::make(world.keyring);
  for (std::size_t then = 0; then + 1 < held.size(); ++then) {
    for (unsigned subset = 0; subset < 16; ++subset) {
      CAPTURE(then, subset);
      world.restore(held.back());
      for (std::size_t i = 0; i < 4; ++i) {
        if ((subset >> i & 1) == 0) continue;
        auto& node = world.engine.all()[i];
        std::erase_if(node.objects, [&](const auto& item) { return kind_of(sealer, item.first, node.spec.id) != "shard"; });
        for (const auto& [name, bytes] : held[then][i])
          if (kind_of(sealer, name, node.spec.id) != "shard") node.objects[name] = bytes;
      }
      const auto tree = world.recovered();
      INFO((tree ? std::string() : tree.error().what));
      REQUIRE(tree);
      CHECK(*tree == (subset == 15 ? states[then] : states.back()));
    }
  }
}
