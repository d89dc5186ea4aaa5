#include "cache/drive/segment_writer.h"

#include "cache/index/rows.h"
#include "cache/sealing/extent_sealer.h"

namespace atl {

SegmentWriter::SegmentWriter(SegmentStore& store, SegmentId next, std::uint64_t capacity)
    : store_(store), capacity_(capacity), next_(next) {}

void SegmentWriter::set_capacity(std::uint64_t capacity) {
  std::lock_guard lock(mutex_);
  capacity_ = capacity;
}

std::optional<std::vector<SegmentWriter::Place>> SegmentWriter::reserve(const std::vector<std::uint32_t>& plain_lengths) {
  std::lock_guard lock(mutex_);
  // First see whether all fit, since nothing is taken unless all is.
  std::size_t segment = 0;
  std::uint64_t used = open_.empty() ? 0 : open_.front().used;
  for (std::uint32_t length : plain_lengths) {
    while (segment < open_.size() && used + frame_bytes(length) > open_[segment].capacity) {
      if (++segment < open_.size()) used = open_[segment].used;
    }
    if (segment >= open_.size()) return std::nullopt;
    used += frame_bytes(length);
  }
  std::vector<Place> places;
  places.reserve(plain_lengths.size());
  for (std::uint32_t length : plain_lengths) {
    while (open_.front().used + frame_bytes(length) > open_.front().capacity) {
      ++filled_;
      const SegmentId id = open_.front().file->id();
      closed_.emplace(id, std::move(open_.front()));
      open_.pop_front();
    }
    Open& open = open_.front();
    places.push_back({open.file, open.used, length});
    open.used += frame_bytes(length);
    ++open.unsettled;
  }
  return places;
}

std::uint64_t SegmentWriter::room() const {
  std::uint64_t sum = 0;
  for (const Open& open : open_) {
    const std::uint64_t left = open.capacity - open.used;
    // The largest frame may not fit into what is left: count only what surely can be used.
    if (left > frame_bytes(extent_bytes_max)) sum += left - frame_bytes(extent_bytes_max);
  }
  return sum;
}

Result<> SegmentWriter::ensure(std::uint64_t bytes) {
  {
    std::lock_guard lock(mutex_);
    if (room() >= bytes) return {};
  }
  // One at a time: writers that all find the last segment full would each preallocate one of their own.
  std::lock_guard creating(creating_);
  for (;;) {
    SegmentId id;
    std::uint64_t capacity = 0;
    {
      std::lock_guard lock(mutex_);
      if (room() >= bytes) return {};
      capacity = capacity_;
      id = next_;
      next_ = next_.next();
    }
    auto file = store_.create(id, capacity);
    if (!file) return fail(file.error());
    std::lock_guard lock(mutex_);
    open_.push_back({std::move(*file), capacity});
  }
}

void SegmentWriter::written(const Place& place) {
  std::lock_guard lock(mutex_);
  const SegmentId id = place.segment();
  if (auto it = closed_.find(id); it != closed_.end()) {
    it->second.unsynced = true;
    return;
  }
  for (Open& open : open_)
    if (open.file->id() == id) open.unsynced = true;
}

void SegmentWriter::settle(const Place& place) {
  std::lock_guard lock(mutex_);
  const SegmentId id = place.segment();
  if (auto it = closed_.find(id); it != closed_.end()) {
    --it->second.unsettled;
    return;
  }
  for (Open& open : open_)
    if (open.file->id() == id) --open.unsettled;
}

std::uint64_t SegmentWriter::filled() const {
  std::lock_guard lock(mutex_);
  return filled_;
}

bool SegmentWriter::close_open() {
  std::lock_guard lock(mutex_);
  if (open_.empty() || open_.front().used == segment_header_bytes) return false;
  const SegmentId id = open_.front().file->id();
  closed_.emplace(id, std::move(open_.front()));
  open_.pop_front();
  return true;
}

std::vector<std::pair<SegmentId, std::uint64_t>> SegmentWriter::take_finished() {
  std::lock_guard lock(mutex_);
  std::vector<std::pair<SegmentId, std::uint64_t>> finished;
  for (auto& [id, closed] : closed_)
    if (closed.unsettled == 0 && finished_.emplace(id, closed.used).second) finished.emplace_back(id, closed.used);
  return finished;
}

std::vector<std::shared_ptr<SegmentFile>> SegmentWriter::take_unsynced() {
  std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<SegmentFile>> files;
  for (Open& open : open_)
    if (std::exchange(open.unsynced, false)) files.push_back(open.file);
  for (auto it = closed_.begin(); it != closed_.end();) {
    if (std::exchange(it->second.unsynced, false)) files.push_back(it->second.file);
    if (finished_.contains(it->first)) {
      finished_.erase(it->first);
      it = closed_.erase(it);
    } else {
      ++it;
    }
  }
  return files;
}

SegmentId SegmentWriter::next() const {
  std::lock_guard lock(mutex_);
  return next_;
}

bool SegmentWriter::has_closed() const {
  std::lock_guard lock(mutex_);
  return closed_.size() > finished_.size();
}

bool SegmentWriter::has_open_bytes() const {
  std::lock_guard lock(mutex_);
  if (!closed_.empty()) return true;
  return !open_.empty() && open_.front().used > segment_header_bytes;
}

}  // namespace atl
