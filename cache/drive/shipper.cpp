#include "cache/drive/shipper.h"

#include <algorithm>

#include "cache/drive/live_frames.h"
#include "cache/drive/reclaimer.h"
#include "cache/erasure/shard_codec.h"

namespace atl {
namespace {

constexpr std::size_t uploads_max = 2;
constexpr Duration tick_interval = std::chrono::milliseconds(500);
constexpr Duration retry_min = std::chrono::seconds(1);
constexpr Duration retry_max = std::chrono::seconds(60);
/// Uploads yield to a writer for so long; with six nodes on its disk they would take two thirds of it.
constexpr Duration writer_pause = std::chrono::milliseconds(250);
constexpr Duration yield_max = std::chrono::seconds(5);
/// A segment with more than this share dead is rewritten before it is shipped; with less, its dead frames are blanked.
constexpr std::uint64_t rewrite_divisor = 8;

}  // namespace

struct Shipper::Upload {
  SegmentId segment;
  AttemptId attempt;
  std::uint8_t n = 0;
  // What the objects' gather lists show; freed with the last reference, when no transfer reads it any more.
  struct Content {
    std::shared_ptr<SegmentFile> file;
    std::shared_ptr<const std::uint8_t> map;
    Bytes copy;  // where the disk cannot map
    std::unique_ptr<EncodedSegment> encoded;
  };
  std::shared_ptr<Transfer> transfer;
  std::mutex mutex;
  std::vector<ShardHome> stored;
};

void Shipper::start(Reclaimer& reclaimer) {
  {
    std::lock_guard lock(mutex_);
    reclaimer_ = &reclaimer;
    stopped_ = false;
  }
  core_.engine.load()->on_node_change([this] {
    {
      // A node came back or went: what waited for it need not wait for its next try.
      std::lock_guard lock(mutex_);
      if (stopped_) return;
      retries_.clear();
    }
    pump();
    core_.changed.wake();
  });
  tasks_.after(tick_interval, [this] { tick(); });
  pump();
}

void Shipper::stop() {
  std::vector<std::shared_ptr<Transfer>> running;
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    for (const auto& [segment, upload] : uploads_)
      if (upload->transfer) running.push_back(upload->transfer);
  }
  for (const auto& transfer : running) transfer->cancel();
  core_.changed.wait(core_.seams.runtime, std::nullopt, {}, [this] {
    std::lock_guard lock(mutex_);
    return uploads_.empty();
  });
}

bool Shipper::in_flight(SegmentId segment) const {
  std::lock_guard lock(mutex_);
  return uploads_.contains(segment);
}

bool Shipper::busy() const {
  std::lock_guard lock(mutex_);
  return !uploads_.empty();
}

void Shipper::hurry() {
  core_.writer->close_open();
  {
    std::lock_guard lock(mutex_);
    open_since_.reset();
    hurried_ = true;
  }
  pump();
}

bool Shipper::yields() {
  const MonotonicTime now = core_.seams.clock.now();
  const bool writing = now - core_.last_write.load() < writer_pause;
  const bool room = core_.segments->usage().staged_bytes < core_.options.staging_max / 4;
  std::lock_guard lock(mutex_);
  if (hurried_ || !writing || !room) {
    yielding_since_.reset();
    return false;
  }
  if (!yielding_since_) yielding_since_ = now;
  return now - *yielding_since_ < yield_max;
}

bool Shipper::release_protected() {
  std::vector<SegmentId> enough;
  {
    std::lock_guard lock(core_.mutex);
    const std::uint8_t wanted = core_.tables->volume().protect_min;
    for (const auto& [id, row] : core_.tables->segments())
      if (row.finished && row.has_attempt && !row.full() && row.placed.size() >= wanted) enough.push_back(id);
  }
  // The placements must be durable before the copy that they replace may go.
  if (enough.empty() || !committer_.commit()) return false;
  bool released = false;
  for (SegmentId segment : enough)
    if (!in_flight(segment) && core_.segments->mark_cached(segment)) released = true;
  return released;
}

void Shipper::pump() {
  {
    std::lock_guard lock(mutex_);
    again_ = true;
    if (stopped_ || std::exchange(running_, true)) return;
  }
  tasks_.post([this] {
    for (;;) {
      {
        std::lock_guard lock(mutex_);
        if (stopped_ || !std::exchange(again_, false)) {
          running_ = false;
          return;
        }
      }
      round();
    }
  });
}

void Shipper::tick() {
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return;
  }
  const MonotonicTime now = core_.seams.clock.now();
  bool old = false;
  if (core_.writer->has_open_bytes()) {
    std::lock_guard lock(mutex_);
    if (!open_since_) open_since_ = now;
    old = now - *open_since_ >= core_.options.segment_age_max;
  } else {
    std::lock_guard lock(mutex_);
    open_since_.reset();
  }
  if (old) {
    core_.writer->close_open();
    std::lock_guard lock(mutex_);
    open_since_.reset();
  }
  pump();
  reclaimer_->tick();
  tasks_.after(tick_interval, [this] { tick(); });
}

void Shipper::round() {
  // The index may name a segment as finished a moment before that is durable: begin() commits first.
  struct Candidate {
    SegmentId segment;
    bool dead = false;
    bool rewrite = false;
  };
  std::vector<Candidate> candidates;
  const MonotonicTime now = core_.seams.clock.now();
  if (core_.writer->has_closed()) {
    {
      std::lock_guard lock(core_.mutex);
      ++core_.changes;  // the end of a closed segment is to be logged
    }
    (void)committer_.commit();  // an error surfaces where somebody asked for durability
  }
  {
    std::lock_guard lock(core_.mutex);
    if (core_.refusal()) return;
    for (const auto& [id, row] : core_.tables->segments()) {
      if (!row.finished || (row.full() && row.live_extents > 0)) continue;
      Candidate candidate{id, row.live_extents == 0, false};
      const std::uint64_t content = row.bytes - segment_header_bytes;
      candidate.rewrite = !row.has_attempt && (content - row.live_bytes) * rewrite_divisor > content;
      candidates.push_back(candidate);
    }
  }
  if (candidates.empty()) {
    std::lock_guard lock(mutex_);
    hurried_ = false;
  }
  if (yields()) return;  // the next tick looks again
  for (const Candidate& candidate : candidates) {
    {
      std::lock_guard lock(mutex_);
      if (stopped_) return;
      if (uploads_.contains(candidate.segment)) continue;
    }
    if (candidate.dead) {
      reclaimer_->drop(candidate.segment);
      continue;
    }
    {
      std::lock_guard lock(mutex_);
      if (uploads_.size() >= uploads_max) continue;
      if (const auto retry = retries_.find(candidate.segment); retry != retries_.end() && retry->second.at > now) continue;
    }
    Result<> begun;
    try {
      begun = candidate.rewrite ? reclaimer_->rewrite(candidate.segment) : begin(candidate.segment);
    } catch (const IndexFailure& failure) {
      begun = fail(failure.error());
    }
    if (!begun) {
      std::lock_guard lock(mutex_);
      Retry& retry = retries_[candidate.segment];
      retry.delay = std::min(std::max(retry.delay * 2, retry_min), retry_max);
      retry.at = core_.seams.clock.now() + retry.delay;
    }
  }
}

Result<> Shipper::blank_dead(SegmentId segment, std::uint64_t bytes) {
  const auto file = core_.segments->find(segment);
  if (!file) return fail(Code::io, "the staged segment " + std::to_string(segment.value) + " is missing");
  Bytes content(bytes);
  if (auto r = file->read(0, content); !r) return r;
  const std::vector<LiveFrame> live = find_live_frames(core_, segment, content);
  std::uint64_t live_bytes = 0;
  for (const LiveFrame& frame : live) live_bytes += frame_bytes(frame.row.length);
  {
    // All that the index counts as alive must have been found, or something that lives would be blanked.
    std::lock_guard lock(core_.mutex);
    const auto row = core_.tables->segments().find(segment);
    if (row == core_.tables->segments().end()) return {};
    if (row->second.live_bytes > live_bytes) {
      return fail(Code::corrupt, "the staged segment " + std::to_string(segment.value) + " has damaged frames");
    }
  }
  // What was found dead must be dead after a crash as well.
  if (auto r = committer_.commit(); !r) return r;
  std::uint64_t at = segment_header_bytes;
  bool blanked = false;
  const auto blank_until = [&](std::uint64_t end) -> Result<> {
    if (at >= end) return {};
    blanked = true;
    // Random and not zeros: nodes cannot tell it from what lives.
    Bytes nothing(end - at);
    core_.seams.random.fill(nothing);
    return file->write(at, nothing);
  };
  for (const LiveFrame& frame : live) {
    if (auto r = blank_until(frame.row.offset); !r) return r;
    at = frame.row.offset + frame_bytes(frame.row.length);
  }
  if (auto r = blank_until(bytes); !r) return r;
  if (blanked) return file->sync();
  return {};
}

Result<> Shipper::begin(SegmentId segment) {
  Engine* engine = core_.engine.load();
  SegmentRow row;
  {
    std::lock_guard lock(core_.mutex);
    const auto found = core_.tables->segments().find(segment);
    if (found == core_.tables->segments().end()) return {};
    row = found->second;
  }
  // A segment counts as finished as soon as that is logged: its frames must be on disk, too.
  if (auto r = committer_.commit(); !r) return r;
  bool prepared = false;
  {
    std::lock_guard lock(mutex_);
    prepared = prepared_.contains(segment);
  }
  // Staging may have given up its copy of a protected segment; what reads brought back since is cache, and not whole.
  const auto staged = core_.segments->find(segment);
  if (!prepared && staged && staged->holds(0, row.bytes)) {
    if (!row.has_attempt && row.live_bytes + segment_header_bytes < row.bytes) {
      if (auto r = blank_dead(segment, row.bytes); !r) {
        // One damaged frame must not keep its whole segment from the nodes: what is whole moves on.
        return r.error().code == Code::corrupt ? reclaimer_->rewrite(segment) : r;
      }
    }
    if (auto r = core_.segments->finish(segment, row.bytes); !r) return r;
    std::lock_guard lock(mutex_);
    prepared_.insert(segment);
  }
  if (!row.has_attempt) {
    {
      std::lock_guard lock(core_.mutex);
      if (auto refused = core_.refusal()) return fail(*refused);
      const auto found = core_.tables->segments().find(segment);
      if (found == core_.tables->segments().end()) return {};
      const VolumeRow& volume = core_.tables->volume();
      core_.log(UploadIntended{segment, core_.seams.random.id<AttemptId>(), volume.k, volume.n});
      row = found->second;
    }
    // Durable before the first byte leaves: whatever comes to lie on nodes can be found again.
    if (auto r = committer_.commit(); !r) return r;
  }

  auto mac_key = core_.keyring.derive(KeyEpoch{1}, KeyPurpose::shard_mac);
  auto name_key = core_.keyring.derive(KeyEpoch{1}, KeyPurpose::object_name);
  if (!mac_key) return fail(mac_key.error());
  if (!name_key) return fail(name_key.error());
  auto content = std::make_shared<Upload::Content>();
  content->file = core_.segments->find(segment);
  ByteView bytes;
  if (!content->file || !content->file->holds(0, row.bytes)) {
    // Staging gave its copy up when space was short: any k of the shards give it back.
    auto fetched = reclaimer_->segment_bytes(segment, row);
    if (!fetched) return fail(fetched.error());
    content->copy = std::move(*fetched);
    bytes = content->copy;
  } else if (auto map = content->file->map()) {
    content->map = *map;
    bytes = ByteView(content->map.get(), row.bytes);
  } else {
    content->copy.resize(row.bytes);
    if (auto r = content->file->read(0, content->copy); !r) return r;
    bytes = content->copy;
  }
  bytes = bytes.subspan(segment_header_bytes);
  const ShardGeometry geometry = ShardGeometry::of({row.k, row.n}, row.shipped_bytes());
  content->encoded = std::make_unique<EncodedSegment>(geometry, bytes, LeafMacs(*mac_key, core_.keyring.volume(), row.attempt));

  auto upload = std::make_shared<Upload>();
  upload->segment = segment;
  upload->attempt = row.attempt;
  upload->n = row.n;
  UploadRequest request;
  for (std::uint8_t shard = 0; shard < row.n; ++shard) {
    const bool placed = std::any_of(row.placed.begin(), row.placed.end(), [&](const ShardHome& home) { return home.shard.value == shard; });
    if (!placed) request.shards.push_back(ShardIndex(shard));
  }
  request.placed = row.placed;
  request.body = [content](ShardIndex shard) { return content->encoded->object(shard); };
  const auto key = std::make_shared<const SecretKey>(std::move(*name_key));
  request.object_name = [key, attempt = row.attempt](ShardIndex shard, NodeId node) { return shard_object_name(*key, attempt, shard, node); };
  request.keep_alive = content;
  request.on_stored = [this, upload](ShardHome home) {
    {
      std::lock_guard lock(upload->mutex);
      upload->stored.push_back(home);
    }
    core_.changed.wake();
  };
  request.done = [this, upload](Result<> result) {
    // Not within Tasks: stop() waits for uploads_ to empty after new tasks are refused.
    core_.seams.runtime.post([this, upload, result = std::move(result)] { completed(upload, result); });
  };
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return {};
    uploads_[segment] = upload;
  }
  auto transfer = engine->upload(std::move(request));
  std::lock_guard lock(mutex_);
  upload->transfer = std::move(transfer);
  if (stopped_) upload->transfer->cancel();
  return {};
}

void Shipper::completed(const std::shared_ptr<Upload>& upload, Result<> result) {
  const SegmentId segment = upload->segment;
  bool full = false;
  try {
    std::lock_guard lock(core_.mutex);
    if (!core_.trouble) {
      std::lock_guard upload_lock(upload->mutex);
      for (const ShardHome& home : upload->stored) core_.log(ShardPlaced{segment, upload->attempt, home});
      const auto found = core_.tables->segments().find(segment);
      full = found != core_.tables->segments().end() && found->second.full();
      if (full) {
        ++core_.counters.segments_shipped;
        // Staging keeps its copy until the placements are durable; then it is a cached copy like any other.
        core_.after_durable.push_back([this, segment] {
          (void)core_.segments->mark_cached(segment);  // Code::not_found: dropped meanwhile
          core_.segments->shrink_cache(core_.options.cache_max);
        });
      }
    }
  } catch (const IndexFailure&) {
    result = fail(Code::io);  // has become the drive's trouble
  }
  bool stopped = false;
  {
    std::lock_guard lock(mutex_);
    stopped = stopped_;
    if (full) {
      prepared_.erase(segment);
      retries_.erase(segment);
    } else if (!result) {
      Retry& retry = retries_[segment];
      retry.delay = std::min(std::max(retry.delay * 2, retry_min), retry_max);
      retry.at = core_.seams.clock.now() + retry.delay;
    }
  }
  {
    // The last act that touches this: stop() returns when it sees no upload any more.
    std::lock_guard lock(mutex_);
    uploads_.erase(segment);
    core_.changed.wake();
    if (stopped) return;
    // Writers and syncs may wait for these placements: durable now, not at the next timer.
    tasks_.post([this] {
      (void)committer_.commit();  // a failure has become the drive's trouble
      core_.changed.wake();
      pump();
    });
  }
}

}  // namespace atl
