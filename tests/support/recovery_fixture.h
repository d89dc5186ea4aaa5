// A drive that several computers open in turn, each with a disk in memory of its own, over the same nodes.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "cache/recovery/recovery.h"
#include "tests/support/drive_fixture.h"
#include "tests/support/moody_engine.h"

namespace atl {

class RecoveryFixture : public DriveFixture {
 public:
  static constexpr Duration patience = std::chrono::seconds(5);  // with a node that does not answer

  using DriveFixture::DriveFixture;
  ~RecoveryFixture() { drive.reset(); }

  MoodyEngine moods{engine};
  void open(bool online = true) {
    DriveFixture::open(false);
    if (online) drive->start(moods);
  }
  const NodeId& node_id(std::size_t i) { return engine.all()[i].spec.id; }

  std::vector<NodeSpec> specs() { return FakeEngine::specs(engine.all()); }
  /// These nodes are there, and no others.
  void only(std::initializer_list<std::size_t> present) {
    for (std::size_t i = 0; i < engine.all().size(); ++i) engine.all()[i].absent = std::find(present.begin(), present.end(), i) == present.end();
    engine.changed();
  }
  void absent(bool all) {
    for (auto& node : engine.all()) node.absent = all;
    engine.changed();
  }

  void put(const std::string& name, const Bytes& bytes) {
    auto found = drive->lookup(root_inode, name);
    write(found ? found->inode : make_file(root_inode, name).inode, 0, bytes);
  }
  bool there(const std::string& name) { return drive->lookup(root_inode, name).has_value(); }
  InodeNumber find(const std::string& path) {
    InodeNumber at = root_inode;
    for (std::size_t begin = 0; begin < path.size();) {
      const std::size_t end = std::min(path.find('/', begin), path.size());
      auto found = drive->lookup(at, path.substr(begin, end - begin));
      INFO(path);
      REQUIRE(found);
      at = found->inode;
      begin = end + 1;
    }
    return at;
  }
  Bytes content(const std::string& path) { return read(find(path), 0, 2'000'000); }

  /// The drive stops here, and its disk is put away; an empty one takes its place.
  std::unique_ptr<MemoryDisk> put_away() {
    close();
    return std::exchange(disk, std::make_unique<MemoryDisk>());
  }
  void take_out(std::unique_ptr<MemoryDisk> away) {
    disk = std::move(away);
    remove_index();
  }
  HeadSurvey survey() {
    auto found = survey_heads(seams(), engine, specs(), keyring, patience);
    REQUIRE(found);
    return std::move(*found);
  }
  /// A fresh disk, with the state that a head stands for. The drive is not opened, and no epoch claimed.
  void rebuild(const Head& head) {
    disk = std::make_unique<MemoryDisk>();
    REQUIRE(disk->make_directory(directory()));
    const auto rebuilt = rebuild_state(seams(), directory(), engine, head, keyring, specs(), patience, {});
    INFO((rebuilt ? std::string() : rebuilt.error().what));
    REQUIRE(rebuilt);
  }
  /// Another computer takes the drive over. It is not opened yet.
  EpochClaim recover_elsewhere() {
    const HeadSurvey found = survey();
    REQUIRE(found.head);
    rebuild(*found.head);
    auto claim = claim_epoch(seams(), directory(), engine, specs(), keyring, found.epoch_max + 1, HistoryPoint::of(*found.head), patience);
    REQUIRE(claim);
    return *claim;
  }
  std::size_t heads(std::size_t node) {
    const MetaSealer sealer = *MetaSealer::make(keyring);
    std::size_t count = 0;
    for (const auto& [name, bytes] : engine.all()[node].objects) count += sealer.parse_head(name, engine.all()[node].spec.id).has_value();
    return count;
  }
  /// Heads of earlier epochs on a node that the newest head does not need.
  std::size_t needless_heads(std::size_t node) {
    const MetaSealer sealer = *MetaSealer::make(keyring);
    const HeadSurvey found = survey();
    REQUIRE(found.head);
    const std::vector<MetaName> needs = found.head->needs();
    std::size_t count = 0;
    for (const auto& [text, bytes] : engine.all()[node].objects)
      if (const auto name = sealer.parse_head(text, engine.all()[node].spec.id); name && name->epoch < found.head->epoch)
        count += std::find(needs.begin(), needs.end(), *name) == needs.end();
    return count;
  }
};

}  // namespace atl
