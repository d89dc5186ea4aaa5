// What a file rests on.
#include <algorithm>

#include "cache/drive/drive_impl.h"

namespace atl {
namespace {

/// Asks the node of each shard for its first leaf; fills mac_state.
void verify_shards(DriveCore& core, Engine& engine, const SegmentRow& row, SegmentReport& report) {
  auto mac_key = core.keyring.derive(KeyEpoch{1}, KeyPurpose::shard_mac);
  if (!mac_key) return;
  struct Answers {
    std::mutex mutex;
    std::size_t missing = 0;
    std::map<std::uint8_t, std::string> states;
    Waiters landed;
  };
  const auto answers = std::make_shared<Answers>();
  const auto macs = std::make_shared<const LeafMacs>(*mac_key, core.keyring.volume(), row.attempt);
  answers->missing = report.shards.size();
  for (const ShardReport& shard : report.shards) {
    const ShardIndex index = shard.shard;
    if (shard.object_name.empty()) {
      std::lock_guard lock(answers->mutex);
      --answers->missing;
      continue;
    }
    FetchRequest request;
    request.wanted = FetchSource{{index, shard.node}, shard.object_name};
    request.need = 1;
    request.offset = ShardGeometry::leaf_offset(0);
    request.length = leaf_bytes + leaf_mac_bytes;
    // Verified here and not by the engine: a bad shard is the answer, not a reason to ask elsewhere.
    request.verify = [](ShardIndex, ByteView) { return true; };
    request.deadline = core.seams.clock.now() + core.options.read_timeout;
    request.done = [answers, macs, index](Result<std::vector<std::pair<ShardIndex, Bytes>>> result) {
      {
        std::lock_guard lock(answers->mutex);
        std::string& state = answers->states[index.value];
        if (result && !result->empty()) {
          state = macs->verify(index, 0, 1, result->front().second) ? "valid" : "bad";
        } else {
          state = result.error().code == Code::not_found || result.error().code == Code::too_few_nodes ? "missing" : "unreachable";
        }
        --answers->missing;
      }
      answers->landed.wake();
    };
    engine.fetch(std::move(request));
  }
  answers->landed.wait(core.seams.runtime, core.seams.clock.now() + core.options.read_timeout, {}, [&] {
    std::lock_guard lock(answers->mutex);
    return answers->missing == 0;
  });
  std::lock_guard lock(answers->mutex);
  const std::vector<NodeStatus> nodes = engine.nodes();
  for (ShardReport& shard : report.shards) {
    if (shard.object_name.empty()) continue;
    const auto state = answers->states.find(shard.shard.value);
    shard.mac_state = state == answers->states.end() ? "unreachable" : state->second;
    const auto node = std::find_if(nodes.begin(), nodes.end(), [&](const NodeStatus& n) { return n.spec.id == shard.node; });
    if (shard.mac_state == "missing" && node != nodes.end() && node->state == NodeState::absent) shard.mac_state = "unreachable";
  }
}

}  // namespace

Result<FileReport> DriveImpl::inspect(InodeNumber inode, bool verify) {
  if (auto r = committer_.commit(); !r) return fail(r.error());
  auto name_key = core_->keyring.derive(KeyEpoch{1}, KeyPurpose::object_name);
  if (!name_key) return fail(name_key.error());
  FileReport report;
  std::map<SegmentId, SegmentRow> rows;
  auto collected = locked([&]() -> Result<> {
    auto row = inode_row(inode);
    if (!row) return fail(row.error());
    report.attributes = attributes_of(inode, **row);
    for (const MapPiece& piece : pieces_in(*core_->tables, inode, 0, report.attributes.size)) {
      const auto extent = core_->tables->extent(piece.extent);
      if (!extent) return fail(Code::corrupt, "a file shows an extent that does not exist");
      report.extents.push_back({piece.offset, piece.length, piece.extent, extent->segment, extent->offset});
      if (const auto found = core_->tables->segments().find(extent->segment); found != core_->tables->segments().end()) {
        rows[extent->segment] = found->second;
      }
    }
    return {};
  });
  if (!collected) return fail(collected.error());
  const std::vector<NodeSpec> specs = nodes();
  for (const auto& [id, row] : rows) {
    SegmentReport segment;
    segment.segment = id;
    segment.bytes = row.bytes;
    const auto file = core_->segments->find(id);
    segment.local = file && file->holds(0, row.bytes);
    if (row.has_attempt) {
      segment.attempt = row.attempt;
      for (std::uint8_t index = 0; index < row.n; ++index) {
        ShardReport shard;
        shard.shard = ShardIndex(index);
        shard.mac_state = "unplaced";
        const auto home = std::find_if(row.placed.begin(), row.placed.end(), [&](const ShardHome& h) { return h.shard == shard.shard; });
        if (home != row.placed.end()) {
          shard.node = home->node;
          shard.object_name = shard_object_name(*name_key, row.attempt, shard.shard, home->node);
          shard.mac_state = "not asked";
          const auto spec = std::find_if(specs.begin(), specs.end(), [&](const NodeSpec& s) { return s.id == home->node; });
          if (spec != specs.end()) shard.node_url = spec->url;
        }
        segment.shards.push_back(std::move(shard));
      }
      Engine* engine = core_->engine.load();
      if (verify && engine != nullptr) verify_shards(*core_, *engine, row, segment);
    }
    report.segments.push_back(std::move(segment));
  }
  return report;
}

}  // namespace atl
