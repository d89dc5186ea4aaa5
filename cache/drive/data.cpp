// Operations on the bytes of files.
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "cache/drive/drive_impl.h"
#include "engine/base/mutant.h"

namespace atl {
namespace {

constexpr int resolve_attempts = 8;  // a piece may move (compaction) between its look-up and its read
constexpr std::int64_t relatime_seconds = 24 * 3600;
constexpr std::size_t frames_a_write = 2;

}  // namespace

void DriveImpl::touch_atime(InodeNumber inode, const InodeRow& row) {
  const Timestamp now = core_->seams.clock.wall_now();
  const bool due = row.atime <= row.mtime || row.atime <= row.ctime || row.atime.seconds + relatime_seconds <= now.seconds;
  if (!due || core_->refusal()) return;
  AttributesSet change;
  change.inode = inode;
  change.mask = AttributesSet::atime_bit;
  change.atime = now;
  core_->log(change);
}

Result<std::size_t> DriveImpl::read(InodeNumber inode, std::uint64_t offset, MutableBytes out, bool update_atime, std::stop_token stop) {
  struct Piece {
    std::uint64_t at = 0;  // in `out`
    std::uint64_t length = 0;
    ExtentId extent;
    ExtentRow row;
    std::uint32_t from = 0;
    std::shared_ptr<const Bytes> plain;  // not on disk yet
    std::uint64_t until = 0;             // in the segment: so far on, the next pieces lie behind this one
  };
  const MonotonicTime deadline = core_->seams.clock.now() + core_->options.read_timeout;
  for (int attempt = 1;; ++attempt) {
    std::vector<Piece> pieces;
    std::vector<std::pair<std::uint64_t, Bytes>> dirty;  // copied in the same breath, on top of the pieces
    std::size_t count = 0;
    auto resolved = locked([&]() -> Result<> {
      auto row = file_row(inode);
      if (!row) return fail(row.error());
      const std::uint64_t size = std::max((*row)->size, core_->dirty.end(inode));
      if (offset >= size) return {};
      count = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), size - offset));
      for (const MapPiece& piece : pieces_in(*core_->tables, inode, offset, count)) {
        Piece resolved_piece{piece.offset - offset, piece.length, piece.extent, {}, piece.extent_offset, nullptr};
        const auto extent = core_->tables->extent(piece.extent);
        if (!extent) return fail(Code::corrupt, "a file shows an extent that does not exist");
        resolved_piece.row = *extent;
        if (const auto it = core_->sealing.find(piece.extent); it != core_->sealing.end()) resolved_piece.plain = it->second;
        pieces.push_back(std::move(resolved_piece));
      }
      core_->dirty.each_in(inode, offset, count, [&](std::uint64_t at, ByteView bytes) { dirty.emplace_back(at - offset, Bytes(bytes.begin(), bytes.end())); });
      // What no extent covers reads as zeros.
      std::uint64_t filled = 0;
      for (const Piece& piece : pieces) {
        std::memset(out.data() + filled, 0, piece.at - filled);
        filled = piece.at + piece.length;
      }
      std::memset(out.data() + filled, 0, count - filled);
      if (attempt == 1 && update_atime && count > 0) touch_atime(inode, **row);
      return {};
    });
    if (!resolved) return fail(resolved.error());

    for (std::size_t i = pieces.size(); i-- > 0;) {
      Piece& piece = pieces[i];
      const std::uint64_t end = piece.row.offset + frame_bytes(piece.row.length);
      const bool goes_on = i + 1 < pieces.size() && pieces[i + 1].row.segment == piece.row.segment && pieces[i + 1].row.offset == end;
      piece.until = goes_on ? pieces[i + 1].until : end;
    }
    bool moved = false;
    for (const Piece& piece : pieces) {
      const MutableBytes target = out.subspan(piece.at, piece.length);
      if (piece.plain) {
        std::memcpy(target.data(), piece.plain->data() + piece.from, target.size());
        continue;
      }
      Result<> got;
      try {
        got = reader_.read(piece.extent, piece.row, piece.from, target, piece.until, deadline, stop);
      } catch (const IndexFailure& failure) {
        return fail(failure.error());
      }
      if (got) continue;
      if (got.error().code == Code::not_found && attempt < resolve_attempts) {
        moved = true;
        break;
      }
      return fail(got.error());
    }
    if (moved) continue;
    for (const auto& [at, bytes] : dirty) std::memcpy(out.data() + at, bytes.data(), bytes.size());
    return count;
  }
}

std::uint64_t DriveImpl::unshipped_bytes() {
  return core_->segments->usage().staged_bytes;
}

Result<> DriveImpl::admit(std::uint64_t bytes, const std::stop_token& stop) {
  const auto disk_has_room = [&] {
    // statfs on every write would cost more than the write: asked again after a moment or a few megabytes.
    const std::int64_t now = core_->seams.clock.now().time_since_epoch().count();
    const std::uint64_t known = disk_free_.load();
    if (now - disk_asked_at_.load() > 200'000'000 || known < (64ull << 20) + core_->options.disk_reserve) {
      if (auto usage = core_->seams.disk.usage(core_->directory)) disk_free_ = usage->free_bytes;
      disk_asked_at_ = now;
    } else {
      disk_free_ = known - std::min(known, bytes);
    }
    std::uint64_t waiting = 0;
    {
      std::lock_guard lock(core_->mutex);
      waiting = core_->dirty.bytes();
    }
    const std::uint64_t needed = core_->options.disk_reserve + waiting + bytes;
    if (disk_free_.load() >= needed) return true;
    // Cached copies go before anybody waits.
    const std::uint64_t short_of = needed - disk_free_.load();
    const std::uint64_t cached = core_->segments->usage().cached_bytes;
    if (core_->segments->shrink_cache(cached > short_of ? cached - short_of : 0) == 0) return false;
    if (auto usage = core_->seams.disk.usage(core_->directory)) disk_free_ = usage->free_bytes;
    return disk_free_.load() >= needed;
  };
  const auto has_room = [&] {
    std::uint64_t dirty = 0;
    {
      std::lock_guard lock(core_->mutex);
      if (core_->refusal()) return true;  // said by the operation itself
      dirty = core_->dirty.bytes();
    }
    return unshipped_bytes() + dirty + bytes <= core_->options.staging_max && disk_has_room();
  };
  if (has_room()) return {};
  // Only nodes can make room. Ask them to, and wait for a bounded time.
  shipper_.hurry();
  const auto makes_room = [&] { return has_room() || (shipper_.release_protected() && has_room()); };
  const MonotonicTime deadline = core_->seams.clock.now() + core_->options.write_timeout;
  if (core_->changed.wait(core_->seams.runtime, deadline, stop, makes_room)) return {};
  if (stop.stop_requested()) return fail(Code::cancelled, "a write was interrupted while it waited for room");
  return fail(Code::no_space, "staging is full: " + human_bytes(unshipped_bytes()) + " wait for nodes, and the nodes do not take them",
              "see `atoll status` for the nodes, or raise staging_max");
}

Result<DriveImpl::SealedBlocks> DriveImpl::seal_blocks(ByteView in) {
  SealedBlocks sealed;
  if (in.empty()) return sealed;
  const std::vector<std::uint32_t> lengths(in.size() / extent_bytes_max, extent_bytes_max);
  constexpr std::size_t block_frame = frame_header_bytes + extent_bytes_max + seal_overhead_bytes;
  static_assert(block_frame % 8 == 0);
  for (;;) {
    if (auto places = core_->writer->reserve(lengths)) {
      sealed.places = std::move(*places);
      break;
    }
    if (auto ensured = core_->writer->ensure(lengths.size() * block_frame); !ensured) return fail(ensured.error());
  }
  const KeyEpoch epoch = core_->keyring.current();
  const ExtentSealer& sealer = core_->sealer(epoch);
  // A few at a time: each worker keeps this buffer, and what was just sealed is still in the processor's cache when it is written.
  thread_local std::array<std::uint8_t, frames_a_write * block_frame> buffer;
  std::size_t begin = 0;  // of the frames not yet written, in `places`
  for (std::size_t i = 0; i < sealed.places.size(); ++i) {
    const ExtentId extent(core_->next_extent++);
    sealed.extents.push_back(extent);
    const MutableBytes frame = MutableBytes(buffer).subspan((i - begin) * block_frame, block_frame);
    core_->frames->seal({extent, extent_bytes_max, epoch.value}, frame.first<frame_header_bytes>());
    sealer.seal({core_->keyring.volume(), epoch, extent, extent_bytes_max}, in.subspan(i * extent_bytes_max, extent_bytes_max),
                frame.subspan(frame_header_bytes));
    const std::size_t count = i + 1 - begin;
    const bool last_of_run = i + 1 == sealed.places.size() || sealed.places[i + 1].file != sealed.places[begin].file;
    if (!last_of_run && count < frames_a_write) continue;
    const SegmentWriter::Place& first = sealed.places[begin];
    if (auto written = first.file->write(first.offset, ByteView(buffer).first(count * block_frame)); !written) {
      for (const auto& place : sealed.places) core_->writer->settle(place);
      // Reserved space that cannot be written is a failing disk: what else it would lose is not to be found out.
      std::lock_guard lock(core_->mutex);
      core_->fail_stop(written.error());
      return fail(written.error());
    }
    begin = i + 1;
  }
  for (const auto& place : sealed.places) core_->writer->written(place);
  return sealed;
}

Result<> DriveImpl::write(InodeNumber inode, std::uint64_t offset, ByteView in, std::stop_token stop) {
  if (in.empty()) return {};
  if (offset > file_bytes_max || in.size() > file_bytes_max - offset) return fail(Code::too_large);
  core_->last_write = core_->seams.clock.now();
  if (auto admitted = admit(in.size(), stop); !admitted) return admitted;
  // Whole aligned blocks are sealed right here, from the caller's buffer; the ends wait for their neighbours.
  const std::uint64_t to_block = (extent_bytes_max - offset % extent_bytes_max) % extent_bytes_max;
  const std::size_t head = static_cast<std::size_t>(std::min<std::uint64_t>(in.size(), to_block));
  const std::size_t middle = (in.size() - head) / extent_bytes_max * extent_bytes_max;
  Result<SealedBlocks> sealed;
  try {
    sealed = seal_blocks(in.subspan(head, middle));
  } catch (const IndexFailure& failure) {
    return fail(failure.error());
  }
  if (!sealed) return fail(sealed.error());
  std::uint64_t dirty = 0;
  // All parts of one request become part of the history at once.
  auto accepted = changing([&]() -> Result<> {
    if (auto row = file_row(inode); !row) return fail(row.error());
    std::optional<Timestamp> time;  // none: what the kernel told stands
    if (!core_->times_told.stand(inode, core_->seams.clock.now())) time = core_->seams.clock.wall_now();
    const ByteView tail = in.subspan(head + middle);
    core_->dirty.cut(inode, offset, in.size());
    for (std::size_t i = 0; i < sealed->extents.size(); ++i) {
      const SegmentWriter::Place& place = sealed->places[i];
      core_->log(Written{inode, offset + head + i * extent_bytes_max, extent_bytes_max, sealed->extents[i], place.segment(), place.offset,
                         core_->keyring.current(), time.value_or(Timestamp{})});
    }
    if (head > 0) core_->dirty.put(inode, offset, in.first(head), time);
    if (!tail.empty()) core_->dirty.put(inode, offset + head + middle, tail, time);
    ++core_->changes;
    dirty = core_->dirty.bytes();
    return {};
  });
  for (const auto& place : sealed->places) core_->writer->settle(place);
  if (accepted && dirty > core_->options.dirty_max) {
    // The writer itself pays for the flush: memory stays bounded, whoever is fastest.
    if (auto flushed = committer_.commit(); !flushed && flushed.error().code == Code::no_space) return flushed;
  }
  return accepted;
}

Result<Attributes> DriveImpl::change_attributes(InodeNumber inode, const AttributeChange& change) {
  return changing([&]() -> Result<Attributes> {
    auto row = inode_row(inode);
    if (!row) return fail(row.error());
    if (change.size) {
      if (auto file = file_row(inode); !file) return fail(file.error());
      if (*change.size > file_bytes_max) return fail(Code::too_large);
    }
    const Timestamp now = core_->seams.clock.wall_now();
    // The kernel's own times of written bytes replace ours; with anything else ours come first.
    if (change.mtime && change.ctime) {
      (void)core_->dirty.take_written_at(inode);
      core_->times_told.told(inode, core_->seams.clock.now());
    }
    settle_times(inode);
    AttributesSet record;
    record.inode = inode;
    record.mask = AttributesSet::ctime_bit;
    record.ctime = change.ctime.value_or(now);
    if (change.uid) {
      record.mask |= AttributesSet::uid_bit;
      record.uid = *change.uid;
    }
    if (change.gid) {
      record.mask |= AttributesSet::gid_bit;
      record.gid = *change.gid;
    }
    if (change.atime) {
      record.mask |= AttributesSet::atime_bit;
      record.atime = *change.atime;
    }
    if (change.mtime) {
      record.mask |= AttributesSet::mtime_bit;
      record.mtime = *change.mtime;
    }
    if (change.size) {
      core_->dirty.cut(inode, *change.size, ~std::uint64_t{0} - *change.size);
      record.mask |= AttributesSet::size_bit;
      record.size = *change.size;
      if (!change.mtime) {
        record.mask |= AttributesSet::mtime_bit;
        record.mtime = now;
      }
    }
    if (change.mode) {
      record.mask |= AttributesSet::mode_bit;
      record.mode = *change.mode & 07777;
      if (auto kept = keep_acl_with_mode(inode, **row, record.mode); !kept) return fail(kept.error());
    }
    core_->log(record);
    return attributes_of(inode, *core_->tables->inode(inode));
  });
}

Result<> DriveImpl::seal_dirty(std::unique_lock<std::mutex>& lock, InodeNumber inode, std::uint64_t offset, std::uint64_t length) {
  for (;;) {
    bool dirty = false;
    core_->dirty.each_in(inode, offset, length, [&dirty](std::uint64_t, ByteView) { dirty = true; });
    if (!dirty) return {};
    lock.unlock();
    auto committed = committer_.commit();
    lock.lock();
    if (!committed) return committed;
  }
}

Result<> DriveImpl::fallocate(InodeNumber inode, FallocateMode mode, std::uint64_t offset, std::uint64_t length) {
  if (length == 0) return fail(Code::invalid);
  if (offset > file_bytes_max || length > file_bytes_max - offset) return fail(Code::too_large);
  const std::uint64_t end = offset + length;
  const bool allocates = mode == FallocateMode::allocate || mode == FallocateMode::allocate_keep_size;
  if (allocates) {
    // Nothing is reserved, since nodes reserve nothing; but what can never fit is refused now, as the call promises.
    if (length > space().free_bytes) return fail(Code::no_space, "there is not so much room on the nodes");
  }
  return changing([&]() -> Result<> {
    auto row = file_row(inode);
    if (!row) return fail(row.error());
    settle_times(inode);
    const Timestamp now = core_->seams.clock.wall_now();
    const std::uint64_t size = std::max((*row)->size, core_->dirty.end(inode));
    if (!allocates) {
      core_->dirty.cut(inode, offset, length);
      core_->log(Punched{inode, offset, mutant("hole-too-short") && length > 50'000 ? length - 1 : length, now});
    }
    const bool extends = mode == FallocateMode::allocate || mode == FallocateMode::zero_range;
    // A cut through dirty bytes must not make the file shorter than it was.
    const std::uint64_t wanted = extends ? std::max(size, end) : size;
    if (wanted > core_->tables->inode(inode)->size || allocates) {
      AttributesSet change;
      change.inode = inode;
      change.mask = AttributesSet::size_bit | AttributesSet::ctime_bit | AttributesSet::mtime_bit;
      change.size = std::max(wanted, core_->tables->inode(inode)->size);
      change.ctime = change.mtime = now;
      core_->log(change);
    }
    return {};
  });
}

Result<std::uint64_t> DriveImpl::seek(InodeNumber inode, std::uint64_t offset, SeekWhat what) {
  return locked([&]() -> Result<std::uint64_t> {
    auto row = file_row(inode);
    if (!row) return fail(row.error());
    const std::uint64_t size = std::max((*row)->size, core_->dirty.end(inode));
    if (offset >= size) return fail(Code::not_found, "beyond the end");
    // Walked window by window, so that a huge map is never in memory whole.
    std::uint64_t at = offset;
    while (at < size) {
      const std::uint64_t window_end = std::min(size, (at / window_bytes + 1) * window_bytes);
      struct Run {
        std::uint64_t begin, end;
      };
      std::vector<Run> data;
      for (const MapPiece& piece : pieces_in(*core_->tables, inode, at, window_end - at)) data.push_back({piece.offset, piece.end()});
      core_->dirty.each_in(inode, at, window_end - at, [&](std::uint64_t begin, ByteView bytes) { data.push_back({begin, begin + bytes.size()}); });
      std::sort(data.begin(), data.end(), [](const Run& a, const Run& b) { return a.begin < b.begin; });
      if (what == SeekWhat::data) {
        if (!data.empty()) return std::max(at, data.front().begin);
        // Skip what has no windows at all: a terabyte of hole is not walked.
        if (window_end == size) break;
        const auto windows = core_->tables->windows(inode, window_end / window_bytes, (size - 1) / window_bytes);
        const std::uint64_t next_mapped = windows.empty() ? size : windows.front() * window_bytes;
        at = std::max(window_end, std::min(next_mapped, core_->dirty.next(inode, window_end).value_or(size)));
        continue;
      } else {
        for (const Run& run : data) {
          if (run.begin > at) return at;
          at = std::max(at, run.end);
        }
        if (at < window_end) return at;
      }
      at = window_end;
    }
    if (what == SeekWhat::hole) return size;
    return fail(Code::not_found, "no data to the end");
  });
}

Result<std::uint64_t> DriveImpl::copy_range(InodeNumber from, std::uint64_t from_offset, InodeNumber to, std::uint64_t to_offset,
                                            std::uint64_t length) {
  if (to_offset > file_bytes_max || length > file_bytes_max - to_offset) return fail(Code::too_large);
  std::unique_lock lock(core_->mutex);
  try {
    if (auto refused = core_->refusal()) return fail(*refused);
    auto source = file_row(from);
    if (!source) return fail(source.error());
    if (auto target = file_row(to); !target) return fail(target.error());
    const auto source_size = [&] { return std::max(core_->tables->inode(from)->size, core_->dirty.end(from)); };
    if (from_offset >= source_size()) return std::uint64_t{0};
    length = std::min(length, source_size() - from_offset);
    if (from == to && from_offset < to_offset + length && to_offset < from_offset + length) return fail(Code::invalid, "the ranges overlap");
    if (auto sealed = seal_dirty(lock, from, from_offset, length); !sealed) return fail(sealed.error());
    if (auto refused = core_->refusal()) return fail(*refused);
    // The lock was given up: both files may have changed, or be gone.
    if (auto again = file_row(from); !again) return fail(again.error());
    if (auto again = file_row(to); !again) return fail(again.error());
    if (from_offset >= source_size()) return std::uint64_t{0};
    length = std::min(length, source_size() - from_offset);

    settle_times(to);
    Shared shared;
    shared.inode = to;
    shared.offset = to_offset;
    shared.time = core_->seams.clock.wall_now();
    std::uint64_t at = from_offset;
    for (const MapPiece& piece : pieces_in(*core_->tables, from, from_offset, length)) {
      if (piece.offset > at) shared.pieces.push_back({piece.offset - at, ExtentId{}, 0});
      shared.pieces.push_back({piece.length, piece.extent, piece.extent_offset});
      at = piece.end();
    }
    if (at < from_offset + length) shared.pieces.push_back({from_offset + length - at, ExtentId{}, 0});
    core_->dirty.cut(to, to_offset, length);
    core_->log(shared);
    return length;
  } catch (const IndexFailure& failure) {
    core_->fail_stop(failure.error());
    return fail(Code::io, failure.error().what);
  }
}

Result<> DriveImpl::commit() { return committer_.commit(); }

}  // namespace atl
