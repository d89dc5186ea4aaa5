#include "cache/drive/shipper.h"

#include <algorithm>

#include "cache/drive/live_frames.h"
#include "cache/drive/publisher.h"
#include "cache/drive/reclaimer.h"
#include "cache/erasure/shard_codec.h"
#include "engine/base/mutant.h"

namespace atl {
namespace {

constexpr std::size_t uploads_max = 2;  // of segments that are not protected yet
constexpr std::size_t tails_max = 2;    // further ones, which lack only what slow nodes are to hold
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
  std::shared_ptr<Transfer> transfer;
  std::uint64_t number = 0;             // of all that were begun
  std::size_t enough = 0;               // so many of `stored` protect the segment
  std::mutex mutex;
  std::vector<ShardHome> stored;
  std::size_t logged = 0;               // of those, from the front
  bool tail() const { return stored.size() >= enough; }
};

void Shipper::start(Reclaimer& reclaimer, Publisher& publisher) {
  {
    std::lock_guard lock(mutex_);
    reclaimer_ = &reclaimer;
    publisher_ = &publisher;
    stopped_ = false;
  }
  // The engine lives longer than the drive and may be just about to call.
  core_.engine.load()->on_node_change(tasks_.guard([this] {
    {
      // A node came back or went: what waited for it need not wait for its next try.
      std::lock_guard lock(mutex_);
      if (stopped_) return;
      retries_.clear();
    }
    pump();
    publisher_->pump();
    core_.changed.wake();
  }));
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

void Shipper::finish_open() {
  const bool closed = core_.writer->close_open();
  {
    std::lock_guard lock(mutex_);
    open_since_.reset();
    if (closed) pace_.shipped(core_.seams.clock.now());
  }
  pump();
}

void Shipper::hurry() {
  core_.writer->close_open();
  {
    std::lock_guard lock(mutex_);
    open_since_.reset();
    hurried_ = true;
    pace_.forget();
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
    for (const auto& [id, row] : core_.tables->segments())
      if (row.finished && !row.full() && core_.tables->volume().is_protected(row)) enough.push_back(id);
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
  if (is_due()) finish_open();
  pump();
  reclaimer_->tick();
  publisher_->pump();
  tasks_.after(tick_interval, [this] { tick(); });
}

bool Shipper::is_due() {
  const MonotonicTime now = core_.seams.clock.now();
  const bool open = core_.writer->has_open_bytes();
  std::lock_guard lock(mutex_);
  if (!open) {
    open_since_.reset();
    return false;
  }
  if (!open_since_) open_since_ = now;
  return pace_.is_due({*open_since_, core_.last_write.load()}, now);
}

void Shipper::round() {
  // The index may name a segment as finished a moment before that is durable: begin() commits first.
  struct Candidate {
    SegmentId segment;
    bool dead = false;
    bool rewrite = false;
    bool is_protected = false;
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
      if (core_.in_care.contains(id)) continue;
      if (row.full() && core_.pinned_dead(id)) continue;
      Candidate candidate;
      candidate.segment = id;
      candidate.dead = row.live_extents == 0 && !core_.pinned_dead(id);
      candidate.is_protected = core_.tables->volume().is_protected(row);
      const std::uint64_t content = row.bytes - segment_header_bytes;
      // A head in the making waits for the segment as it is.
      candidate.rewrite = !row.has_attempt && !core_.pinned(id) && (content - row.live_bytes) * rewrite_divisor > content;
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
      if (const auto retry = retries_.find(candidate.segment); retry != retries_.end() && retry->second.at > now) continue;
      if (!has_room(candidate.is_protected)) continue;
    }
    Result<> begun;
    try {
      begun = candidate.rewrite ? reclaimer_->rewrite(candidate.segment) : begin(candidate.segment);
    } catch (const IndexFailure& failure) {
      begun = fail(failure.error());
    }
    if (!begun) {
      std::lock_guard lock(mutex_);
      put_off(candidate.segment);
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
  std::map<std::uint64_t, std::uint64_t> keep;  // offset -> bytes
  for (const LiveFrame& frame : live) {
    live_bytes += frame_bytes(frame.row.length);
    keep[frame.row.offset] = frame_bytes(frame.row.length);
  }
  {
    // All that the index counts as alive must have been found, or something that lives would be blanked.
    std::lock_guard lock(core_.mutex);
    const auto row = core_.tables->segments().find(segment);
    if (row == core_.tables->segments().end()) return {};
    if (row->second.live_bytes > live_bytes) {
      return fail(Code::corrupt, "the staged segment " + std::to_string(segment.value) + " has damaged frames");
    }
    if (core_.pinned_dead(segment) && !mutant("pins-ignored")) keep.insert(core_.pins->died.at(segment).begin(), core_.pins->died.at(segment).end());
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
  for (const auto& [offset, frame] : keep) {
    if (auto r = blank_until(offset); !r) return r;
    at = offset + frame;
  }
  if (auto r = blank_until(bytes); !r) return r;
  if (blanked) return file->sync();
  return {};
}

Result<std::vector<ShardContent>> Shipper::content_of(SegmentId segment, const SegmentRow& row, const ShardGeometry& geometry) {
  const auto file = core_.segments->find(segment);
  auto copy = std::make_shared<Bytes>();
  if (!file || !file->holds(0, row.bytes)) {
    // Staging gave its copy up when space was short: any k of the shards give it back.
    auto fetched = reclaimer_->segment_bytes(segment, row);
    if (!fetched) return fail(fetched.error());
    *copy = std::move(*fetched);
  } else {
    std::vector<ShardContent> mapped;
    for (std::uint8_t shard = 0; shard < row.k; ++shard) {
      const auto [begin, length] = geometry.part(ShardIndex(shard));
      auto map = file->map(segment_header_bytes + begin, length);
      if (!map) break;
      mapped.push_back({{map->get(), static_cast<std::size_t>(length)}, std::move(*map)});
    }
    if (mapped.size() == row.k) return mapped;
    copy->resize(row.bytes);
    if (auto r = file->read(0, *copy); !r) return fail(r.error());
  }
  return cut_shards(geometry, ByteView(*copy).subspan(segment_header_bytes), copy);
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
      if (auto r = mutant("dead-shipped") ? Result<>() : blank_dead(segment, row.bytes); !r) {
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
    if (auto r = mutant("upload-unintended") ? Result<>() : committer_.commit(); !r) return r;
  }

  auto mac_key = core_.keyring.derive(KeyEpoch{1}, KeyPurpose::shard_mac);
  auto name_key = core_.keyring.derive(KeyEpoch{1}, KeyPurpose::object_name);
  if (!mac_key) return fail(mac_key.error());
  if (!name_key) return fail(name_key.error());
  const ShardGeometry geometry = ShardGeometry::of({row.k, row.n}, row.shipped_bytes());
  auto content = content_of(segment, row, geometry);
  if (!content) return fail(content.error());
  const auto encoded = std::make_shared<EncodedSegment>(geometry, std::move(*content), LeafMacs(*mac_key, core_.keyring.volume(), row.attempt));

  auto upload = std::make_shared<Upload>();
  upload->segment = segment;
  upload->attempt = row.attempt;
  upload->n = row.n;
  {
    std::lock_guard lock(core_.mutex);
    const std::size_t wanted = core_.tables->volume().protects(row.k, row.n);
    upload->enough = wanted - std::min(wanted, row.placed.size());
  }
  UploadRequest request;
  for (std::uint8_t shard = 0; shard < row.n; ++shard) {
    const bool placed = std::any_of(row.placed.begin(), row.placed.end(), [&](const ShardHome& home) {
      return home.shard.value == shard && !mutant("retry-duplicates");
    });
    if (!placed) request.shards.push_back(ShardIndex(shard));
  }
  request.placed = row.placed;
  request.need = row.k;
  request.body = [encoded](ShardIndex shard) { return encoded->object(shard); };
  const auto key = std::make_shared<const SecretKey>(std::move(*name_key));
  request.object_name = [key, attempt = row.attempt](ShardIndex shard, NodeId node) { return shard_object_name(*key, attempt, shard, node); };
  request.on_stored = [this, upload, encoded, request_shards = request.shards.size()](ShardHome home) {
    // What is stored is not held in memory until the slowest node is done.
    encoded->release(home.shard);
    bool is_protected = false;
    {
      std::lock_guard lock(upload->mutex);
      upload->stored.push_back(home);
      is_protected = upload->stored.size() == upload->enough;
    }
    // What protects the segment counts now, not when the slowest node has its shard as well.
    if (is_protected && upload->enough < request_shards) tasks_.post([this, upload] { protected_early(upload); });
    core_.changed.wake();
  };
  request.done = [this, upload](Result<> result) {
    // Not within Tasks: stop() waits for uploads_ to empty after new tasks are refused.
    core_.seams.runtime.post([this, upload, result = std::move(result)] { completed(upload, result); });
  };
  {
    std::lock_guard state_lock(core_.mutex);
    if (core_.in_care.contains(segment)) return {};
    std::lock_guard lock(mutex_);
    if (stopped_) return {};
    upload->number = ++uploads_begun_;
    uploads_[segment] = upload;
  }
  auto transfer = engine->upload(std::move(request));
  std::lock_guard lock(mutex_);
  upload->transfer = std::move(transfer);
  if (stopped_) upload->transfer->cancel();
  return {};
}

void Shipper::put_off(SegmentId segment) {
  Retry& retry = retries_[segment];
  retry.delay = std::min(std::max(retry.delay * 2, retry_min), retry_max);
  // Between three quarters and all of it: what failed together does not return together.
  const auto quarter = static_cast<std::uint64_t>(retry.delay.count() / 4 + 1);
  retry.at = core_.seams.clock.now() + retry.delay - Duration(static_cast<Duration::rep>(core_.seams.random.u64() % quarter));
}

bool Shipper::has_room(bool is_protected) {
  std::size_t unprotected = 0;
  std::shared_ptr<Upload> oldest_tail;
  std::size_t tails = 0;
  for (const auto& [segment, upload] : uploads_) {
    std::lock_guard lock(upload->mutex);
    if (!upload->tail()) {
      ++unprotected;
      continue;
    }
    ++tails;
    if (upload->transfer && (!oldest_tail || upload->number < oldest_tail->number)) oldest_tail = upload;
  }
  if (is_protected) return unprotected + tails < uploads_max;
  if (unprotected >= uploads_max) return false;
  if (unprotected + tails < uploads_max + tails_max) return true;
  // What slow nodes lack is brought to them later: saving goes first. Its end looks for work again.
  if (oldest_tail) oldest_tail->transfer->cancel();
  return false;
}

void Shipper::log_stored(Upload& upload) {
  std::lock_guard lock(upload.mutex);
  for (; upload.logged < upload.stored.size(); ++upload.logged)
    core_.log(ShardPlaced{upload.segment, upload.attempt, upload.stored[upload.logged]});
}

void Shipper::protected_early(const std::shared_ptr<Upload>& upload) {
  try {
    std::lock_guard lock(core_.mutex);
    if (core_.trouble) return;
    log_stored(*upload);
  } catch (const IndexFailure&) {
    return;  // has become the drive's trouble
  }
  (void)committer_.commit();  // a failure has become the drive's trouble
  core_.changed.wake();
  pump();
  publisher_->pump();
}

void Shipper::completed(const std::shared_ptr<Upload>& upload, Result<> result) {
  const SegmentId segment = upload->segment;
  bool full = false;
  try {
    std::lock_guard lock(core_.mutex);
    if (!core_.trouble) {
      log_stored(*upload);
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
      put_off(segment);
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
      publisher_->pump();
    });
  }
}

}  // namespace atl
