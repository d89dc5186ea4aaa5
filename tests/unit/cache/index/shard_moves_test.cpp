#include <catch2/catch.hpp>

#include <memory>

#include "cache/index/fold.h"
#include "cache/index/index_store.h"
#include "cache/index/tables.h"
#include "cache/journal/record.h"
#include "tests/support/memory_disk.h"

using namespace atl;

namespace {

NodeId node(std::uint8_t number) {
  NodeId id;
  id.bytes[0] = number;
  return id;
}

AttemptId attempt(std::uint8_t number) {
  AttemptId id;
  id.bytes[0] = number;
  return id;
}

MemoryDisk& with_folder(MemoryDisk& disk) {
  REQUIRE(disk.make_directory("/state"));
  return disk;
}

/// Segment 1, attempt 1, shards 0 to 2 of 1/3 on nodes 1 to 3; node 4 is free.
class Moves {
 public:
  Moves() : store_(std::move(*IndexStore::create(with_folder(disk_), "/state/index.db"))), tables(*store_) {
    fold_one(SegmentFinished{SegmentId(1), 1000, {}});
    fold_one(UploadIntended{SegmentId(1), attempt(1), 1, 3});
    for (std::uint8_t i = 0; i < 3; ++i) fold_one(ShardPlaced{SegmentId(1), attempt(1), {ShardIndex(i), node(i + 1)}});
    for (std::uint8_t i = 1; i <= 4; ++i) {
      NodeSpec spec;
      spec.id = node(i);
      fold_one(NodeAdded{spec});
    }
  }
  /// Folds what a journal would give back, so that encoding is tested with it.
  void fold_one(const Record& record) {
    Bytes bytes;
    encode_record(record, bytes);
    auto folded = decode_records(bytes, [this](const Record& again) { return fold(again, tables); });
    INFO(describe(record) << ": " << (folded ? std::string() : folded.error().what));
    REQUIRE(folded);
  }
  bool contradicts(const Record& record) { return !fold(record, tables); }
  const SegmentRow& row() const { return tables.segments().at(SegmentId(1)); }
  NodeId home(std::uint8_t shard) const {
    for (const ShardHome& placed : row().placed)
      if (placed.shard.value == shard) return placed.node;
    return {};
  }

 private:
  MemoryDisk disk_;
  std::unique_ptr<IndexStore> store_;

 public:
  Tables tables;
};

}  // namespace

TEST_CASE("A shard that moves is first a stray where it goes, then one where it was", "[index][care]") {
  Moves moves;
  moves.fold_one(ShardMoving{SegmentId(1), attempt(1), {ShardIndex(1), node(4)}, 10});
  CHECK(moves.home(1) == node(2));
  REQUIRE(moves.row().strays == std::vector<Stray>{{{ShardIndex(1), node(4)}, 10}});
  moves.fold_one(ShardMoved{SegmentId(1), attempt(1), ShardIndex(1), node(2), node(4), 20});
  CHECK(moves.home(1) == node(4));
  REQUIRE(moves.row().strays == std::vector<Stray>{{{ShardIndex(1), node(2)}, 20}});
  CHECK(moves.row().full());
  moves.fold_one(StrayRemoved{SegmentId(1), attempt(1), {ShardIndex(1), node(2)}});
  CHECK(moves.row().strays.empty());
}

TEST_CASE("A move applies only while the old home stands", "[index][care]") {
  Moves moves;
  moves.fold_one(ShardMoved{SegmentId(1), attempt(1), ShardIndex(1), node(2), node(4), 20});
  const SegmentRow before = moves.row();
  // A second mover that read the state before the first one was done.
  moves.fold_one(ShardMoved{SegmentId(1), attempt(1), ShardIndex(1), node(2), node(5), 21});
  CHECK(moves.row().placed == before.placed);
  CHECK(moves.row().strays == before.strays);
}

TEST_CASE("No move brings two shards of a segment to one node", "[index][care]") {
  Moves moves;
  moves.fold_one(ShardMoved{SegmentId(1), attempt(1), ShardIndex(1), node(2), node(3), 20});
  CHECK(moves.home(1) == node(2));
}

TEST_CASE("Moves of an earlier attempt have no effect", "[index][care]") {
  Moves moves;
  moves.fold_one(ShardMoving{SegmentId(1), attempt(1), {ShardIndex(1), node(4)}, 10});
  moves.fold_one(UploadIntended{SegmentId(1), attempt(2), 1, 3});
  CHECK(moves.row().strays.empty());  // garbage of the earlier attempt, whose names are removed from all nodes
  moves.fold_one(ShardMoved{SegmentId(1), attempt(1), ShardIndex(1), node(2), node(4), 20});
  moves.fold_one(ShardMoving{SegmentId(1), attempt(1), {ShardIndex(0), node(4)}, 10});
  CHECK(moves.row().placed.empty());
  CHECK(moves.row().strays.empty());
}

TEST_CASE("Moves that no drive would make are damage", "[index][care]") {
  Moves moves;
  CHECK(moves.contradicts(ShardMoving{SegmentId(1), attempt(1), {ShardIndex(3), node(4)}, 0}));
  CHECK(moves.contradicts(ShardMoved{SegmentId(1), attempt(1), ShardIndex(0), node(1), node(1), 0}));
  CHECK(moves.contradicts(NodeLeaving{node(9), true}));
  CHECK(moves.contradicts(NodeRemoved{node(9)}));
}

TEST_CASE("A node that is removed takes its places and strays with it", "[index][care]") {
  Moves moves;
  moves.fold_one(ShardMoving{SegmentId(1), attempt(1), {ShardIndex(1), node(4)}, 10});
  moves.fold_one(ShardMoving{SegmentId(1), attempt(1), {ShardIndex(0), node(4)}, 10});
  moves.fold_one(ShardMoved{SegmentId(1), attempt(1), ShardIndex(1), node(2), node(4), 20});
  moves.fold_one(NodeLeaving{node(2), true});
  CHECK(moves.row().strays.size() == 2);
  moves.fold_one(NodeRemoved{node(2)});
  CHECK(moves.tables.nodes().size() == 3);
  CHECK(moves.tables.volume().leaving.empty());
  CHECK(moves.row().strays == std::vector<Stray>{{{ShardIndex(0), node(4)}, 10}});
  CHECK(moves.row().placed.size() == 3);
  moves.fold_one(NodeRemoved{node(3)});
  CHECK(moves.row().placed == std::vector<ShardHome>{{ShardIndex(0), node(1)}, {ShardIndex(1), node(4)}});
  moves.fold_one(SegmentDropped{SegmentId(1), 30});
  moves.fold_one(NodeRemoved{node(4)});
  REQUIRE(moves.tables.garbage().size() == 1);
  CHECK(moves.tables.garbage().begin()->second.placed.size() == 1);
  CHECK(moves.contradicts(NodeRemoved{node(4)}));
}

TEST_CASE("Strays and leaving nodes survive in the index", "[index][care]") {
  Moves moves;
  moves.fold_one(ShardMoving{SegmentId(1), attempt(1), {ShardIndex(1), node(4)}, 1000});
  moves.fold_one(ShardMoving{SegmentId(1), attempt(1), {ShardIndex(0), node(4)}, 7});
  moves.fold_one(NodeLeaving{node(2), true});
  moves.fold_one(NodeLeaving{node(3), true});
  moves.fold_one(NodeLeaving{node(3), false});
  Bytes bytes;
  moves.row().encode(bytes);
  const auto segment = SegmentRow::decode(bytes);
  REQUIRE(segment);
  CHECK(segment->strays == std::vector<Stray>{{{ShardIndex(0), node(4)}, 7}, {{ShardIndex(1), node(4)}, 1000}});
  CHECK(segment->placed == moves.row().placed);
  bytes.clear();
  moves.tables.volume().encode(bytes);
  const auto volume = VolumeRow::decode(bytes);
  REQUIRE(volume);
  CHECK(volume->leaving == std::set<NodeId>{node(2)});
}
