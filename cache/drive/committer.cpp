#include "cache/drive/committer.h"

#include "engine/base/mutant.h"

namespace atl {
namespace {

/// Bytes of rows that may wait for the index before a commit does the applying itself: bounds memory.
constexpr std::size_t queued_weight_max = 64u << 20;
constexpr std::size_t write_buffer_bytes = 1u << 20;
constexpr std::uint64_t record_bytes_estimate = 96;
constexpr std::uint64_t cache_step = 64u << 20;

}  // namespace

Result<std::optional<Committer::Cut>> Committer::make_cut(const std::function<void()>& at_cut) {
  for (;;) {
    std::uint64_t needed = 0;
    std::vector<std::uint32_t> lengths;
    {
      std::unique_lock lock(core_.mutex);
      if (core_.trouble) return fail(Code::io, "nothing can be made durable: " + core_.trouble->what, core_.trouble->hint);
      for (const auto& [segment, bytes] : core_.writer->take_finished()) {
        core_.log(SegmentFinished{segment, bytes, core_.seams.clock.wall_now()});
      }
      if (core_.records.empty() && core_.dirty.empty() && core_.after_durable.empty()) {
        if (at_cut) at_cut();
        return std::nullopt;
      }
      lengths = core_.dirty.lengths();
      for (std::uint32_t length : lengths) needed += frame_bytes(length);
      // Room in the journal first: a batch that was cut must not fail for want of space.
      const std::uint64_t batch = core_.records.size() + lengths.size() * record_bytes_estimate + 4096;
      lock.unlock();
      auto reserved = core_.journal->reserve(batch);
      if (!reserved && reserved.error().code == Code::no_space) {
        // Cached copies give way first.
        const std::uint64_t cached = core_.segments->usage().cached_bytes;
        if (core_.segments->shrink_cache(cached > cache_step ? cached - cache_step : 0) > 0) reserved = core_.journal->reserve(batch);
      }
      if (!reserved) {
        lock.lock();
        core_.journal_full = reserved.error().code == Code::no_space;
        return fail(reserved.error());
      }
      lock.lock();
      core_.journal_full = false;
      lengths = core_.dirty.lengths();
      // Operations that came while the journal made room may have filled it again.
      if (core_.records.size() + lengths.size() * record_bytes_estimate > batch) continue;
      if (auto places = core_.writer->reserve(lengths)) {
        Cut cut;
        std::vector<DirtyFiles::Range> ranges = core_.dirty.take_all();
        const KeyEpoch epoch = core_.keyring.current();
        for (std::size_t i = 0; i < ranges.size(); ++i) {
          Frame frame{std::move((*places)[i]), ExtentId(core_.next_extent++), std::make_shared<const Bytes>(std::move(ranges[i].bytes))};
          core_.sealing[frame.extent] = frame.plain;
          core_.log(Written{ranges[i].inode, ranges[i].offset, frame.place.plain_bytes, frame.extent, frame.place.segment(),
                            frame.place.offset, epoch, ranges[i].written_at.value_or(Timestamp{})});
          core_.writer->settle(frame.place);
          cut.frames.push_back(std::move(frame));
        }
        if (const std::uint64_t ran = core_.ran_seconds(); ran >= core_.tables->volume().ran_seconds + 60) core_.log(RanFor{ran});
        cut.body = std::move(core_.records);
        core_.records = Bytes();
        cut.count = std::exchange(core_.record_count, 0);
        cut.changes = core_.changes;
        cut.upto = core_.last_lsn;
        cut.index = core_.tables->take_changes(core_.last_lsn);
        cut.after = std::exchange(core_.after_durable, {});
        if (at_cut) at_cut();
        return cut;
      }
    }
    if (auto ensured = core_.writer->ensure(needed + frame_bytes(extent_bytes_max)); !ensured) return fail(ensured.error());
  }
}

Result<> Committer::write_frames(const Cut& cut) {
  // Places of one cut mostly follow each other: frames are gathered into few large writes.
  Bytes buffer;
  const Frame* first = nullptr;
  const auto flush = [&]() -> Result<> {
    if (buffer.empty()) return {};
    auto result = first->place.file->write(first->place.offset, buffer);
    buffer.clear();
    return result;
  };
  const KeyEpoch epoch = core_.keyring.current();
  const ExtentSealer& sealer = core_.sealer(epoch);
  for (const Frame& frame : cut.frames) {
    const bool follows = !buffer.empty() && first->place.file == frame.place.file &&
                         first->place.offset + buffer.size() == frame.place.offset && buffer.size() < write_buffer_bytes;
    if (!follows) {
      if (auto r = flush(); !r) return r;
      first = &frame;
    }
    const std::size_t at = buffer.size();
    buffer.resize(at + frame_bytes(frame.place.plain_bytes));
    core_.frames->seal({frame.extent, frame.place.plain_bytes, epoch.value},
                       std::span<std::uint8_t, frame_header_bytes>(buffer.data() + at, frame_header_bytes));
    sealer.seal({core_.keyring.volume(), epoch, frame.extent, frame.place.plain_bytes}, *frame.plain,
                MutableBytes(buffer).subspan(at + frame_header_bytes, frame.place.plain_bytes + seal_overhead_bytes));
    const std::size_t sealed_end = at + frame_header_bytes + frame.place.plain_bytes + seal_overhead_bytes;
    // Noise, not zeros: padding must not show nodes where a frame ends.
    if (sealed_end < buffer.size()) core_.seams.random.fill(MutableBytes(buffer).subspan(sealed_end));
    core_.writer->written(frame.place);
  }
  return flush();
}

Result<> Committer::commit() {
  std::uint64_t wanted = 0;
  {
    std::lock_guard lock(core_.mutex);
    wanted = core_.changes;
  }
  std::unique_lock commit_lock(commit_mutex_);
  {
    std::lock_guard lock(core_.mutex);
    if (core_.trouble) return fail(Code::io, "nothing can be made durable: " + core_.trouble->what, core_.trouble->hint);
    if (core_.durable_changes >= wanted) return {};  // whoever held the lock did it
  }
  if (mutant("acknowledged-early")) {
    tasks_.post([this] {
      std::unique_lock later(commit_mutex_);
      (void)commit_cut(later, {}, nullptr);
    });
    return {};
  }
  return commit_cut(commit_lock, {}, nullptr);
}

Result<Committer::Mark> Committer::mark(const std::function<void()>& at_cut) {
  std::unique_lock commit_lock(commit_mutex_);
  Mark mark;
  if (auto r = commit_cut(commit_lock, at_cut, &mark); !r) return fail(r.error());
  return mark;
}

/// Releases the commit lock when the batch is durable.
Result<> Committer::commit_cut(std::unique_lock<std::mutex>& commit_lock, const std::function<void()>& at_cut, Mark* mark) {
  const auto note_mark = [&] {
    if (mark != nullptr) *mark = {core_.journal->last(), core_.journal->chain()};
  };
  Result<std::optional<Cut>> cut = std::nullopt;
  try {
    cut = make_cut(at_cut);
  } catch (const IndexFailure& failure) {
    std::lock_guard lock(core_.mutex);
    core_.fail_stop(failure.error());
    return fail(failure.error());
  }
  if (!cut) return fail(cut.error());
  if (!*cut) {
    note_mark();
    return {};
  }
  Cut& batch = **cut;

  const auto make_durable = [&]() -> Result<> {
    if (auto r = write_frames(batch); !r) return r;
    for (const auto& file : core_.writer->take_unsynced())
      if (auto r = mutant("frames-unflushed") ? Result<>() : file->sync(); !r) return r;
    // A cut without records holds frames of files that lost their last name meanwhile: nothing to say about them.
    if (batch.count == 0) return {};
    if (auto r = core_.journal->append(batch.body, batch.count); !r) return fail(r.error());
    return {};
  };
  Result<> durable = make_durable();
  {
    std::lock_guard lock(core_.mutex);
    if (!durable) {
      // The history has a hole from here on: nothing after it may ever become durable.
      if (!mutant("no-fail-stop")) core_.fail_stop(durable.error());
      return durable;
    }
    for (const Frame& frame : batch.frames) core_.sealing.erase(frame.extent);
    core_.durable_changes = batch.changes;
    core_.durable_lsn = batch.upto;
  }
  note_mark();
  ++core_.counters.commits;
  std::size_t weight = 0;
  {
    std::lock_guard lock(queue_mutex_);
    queued_weight_ += batch.index.weight();
    weight = queued_weight_;
    queue_.push_back(std::move(batch.index));
  }
  commit_lock.unlock();
  for (auto& task : batch.after) task();
  core_.changed.wake();
  if (weight > queued_weight_max) return apply();
  schedule_apply();
  return {};
}

void Committer::schedule_apply() {
  {
    std::lock_guard lock(queue_mutex_);
    if (std::exchange(apply_scheduled_, true)) return;
  }
  tasks_.post([this] {
    {
      std::lock_guard lock(queue_mutex_);
      apply_scheduled_ = false;
    }
    (void)apply();  // a failure has become the drive's trouble
  });
}

Result<Lsn> Committer::flush_index() {
  std::lock_guard apply_lock(apply_mutex_);
  return core_.index->flush();
}

Result<> Committer::apply() {
  std::lock_guard apply_lock(apply_mutex_);
  std::vector<IndexChanges> commits;
  {
    std::lock_guard lock(queue_mutex_);
    commits.assign(std::make_move_iterator(queue_.begin()), std::make_move_iterator(queue_.end()));
    queue_.clear();
    queued_weight_ = 0;
  }
  if (commits.empty()) return {};
  if (auto applied = core_.index->apply(commits); !applied) {
    if (applied.error().code == Code::no_space || applied.error().code == Code::busy) {
      // Nothing was applied and nothing is lost: the journal has it all. Tried again with the next commit.
      std::lock_guard lock(queue_mutex_);
      for (const IndexChanges& changes : commits) queued_weight_ += changes.weight();
      queue_.insert(queue_.begin(), std::make_move_iterator(commits.begin()), std::make_move_iterator(commits.end()));
      return {};
    }
    std::lock_guard lock(core_.mutex);
    core_.fail_stop(Error(applied.error().code, applied.error().what,
                          "what was saved is in the journal; free space or mend the disk, then mount again"));
    return applied;
  }
  std::lock_guard lock(core_.mutex);
  for (const IndexChanges& changes : commits) core_.tables->applied(changes);
  return {};
}

}  // namespace atl
