#include "cache/staging/segment_entry.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

namespace atl {

bool SegmentEntry::holds(std::uint64_t offset, std::uint64_t length) const {
  if (offset > size || length > size - offset) return false;
  if (kind != SegmentKind::partial || length == 0) return true;
  const std::uint64_t last = (offset + length - 1) / cache_block_bytes;
  for (std::uint64_t block = offset / cache_block_bytes; block <= last; ++block)
    if ((blocks[block / 64] >> (block % 64) & 1) == 0) return false;
  return true;
}

std::string StoreState::path(SegmentId id, SegmentKind kind) const {
  std::array<char, 17> name{};
  std::snprintf(name.data(), name.size(), "%016llx", static_cast<unsigned long long>(id.value));
  return (kind == SegmentKind::staged ? staging() : cache()) + "/" + name.data() +
         (kind == SegmentKind::partial ? ".part" : ".seg");
}

Result<std::shared_ptr<File>> StoreState::file_of(const EntryPtr& entry) {
  constexpr int attempts = 3;  // a name may change once between reading it and opening it: staged to cached
  Error error;
  for (int attempt = 0; attempt < attempts; ++attempt) {
    {
      const std::lock_guard lock(mutex);
      if (auto file = entry->open.lock()) {
        const auto place = std::find(open_files.begin(), open_files.end(), file);
        if (place != open_files.end()) open_files.splice(open_files.end(), open_files, place);
        return file;
      }
    }
    SegmentKind kind;
    {
      const std::lock_guard lock(entry->mutex);
      if (entry->gone)
        return fail(Code::not_found, "segment " + std::to_string(entry->id.value) + " is not here any more");
      kind = entry->kind;
    }
    auto opened = disk.open(path(entry->id, kind), kind == SegmentKind::whole ? OpenMode::read : OpenMode::write);
    if (opened) {
      if (auto file = keep_open(entry, std::move(*opened))) return file;
      return fail(Code::not_found, "segment " + std::to_string(entry->id.value) + " is not here any more");
    }
    error = opened.error();
    if (error.code != Code::not_found) break;
  }
  return fail(error);
}

std::shared_ptr<File> StoreState::keep_open(const EntryPtr& entry, std::shared_ptr<File> file) {
  std::shared_ptr<File> evicted;  // closed outside of the lock, as is `file` if it is not needed
  const std::lock_guard lock(mutex);
  if (auto other = entry->open.lock()) return other;
  {
    // Had the entry gone before, the name might already be another file's.
    const std::lock_guard entry_lock(entry->mutex);
    if (entry->gone) return nullptr;
  }
  entry->open = file;
  open_files.push_back(file);
  if (open_files.size() > open_files_max) {
    evicted = std::move(open_files.front());
    open_files.pop_front();
  }
  return file;
}

StoreState::EntryPtr StoreState::find(SegmentId id) {
  const std::lock_guard lock(mutex);
  const auto it = entries.find(id);
  return it == entries.end() ? nullptr : it->second;
}

void StoreState::add(const EntryPtr& entry) {
  const std::lock_guard lock(mutex);
  entries[entry->id] = entry;
  const std::lock_guard entry_lock(entry->mutex);
  switch (entry->kind) {
    case SegmentKind::staged:
      staged_bytes += entry->size;
      return;
    case SegmentKind::whole:
      cached_bytes += entry->size;
      break;
    case SegmentKind::partial:
      cached_bytes += entry->held;
      break;
  }
  entry->cache_place = cache_order.insert(cache_order.end(), entry);
  entry->in_cache = true;
}

std::uint64_t StoreState::forget(const EntryPtr& entry) {
  std::shared_ptr<File> pinned, open;  // closed outside of the locks
  const std::lock_guard lock(mutex);
  const auto it = entries.find(entry->id);
  if (it != entries.end() && it->second == entry) entries.erase(it);
  if (std::exchange(entry->in_cache, false)) cache_order.erase(entry->cache_place);
  open = entry->open.lock();
  if (open) open_files.remove(open);
  const std::lock_guard entry_lock(entry->mutex);
  if (std::exchange(entry->gone, true)) return 0;
  pinned = std::move(entry->pinned);
  if (entry->kind == SegmentKind::staged) {
    staged_bytes -= entry->size;
    return 0;
  }
  const std::uint64_t bytes = entry->kind == SegmentKind::whole ? entry->size : entry->held;
  cached_bytes -= bytes;
  return bytes;
}

void StoreState::touch(const EntryPtr& entry) {
  const std::lock_guard lock(mutex);
  if (entry->in_cache) cache_order.splice(cache_order.end(), cache_order, entry->cache_place);
}

}  // namespace atl
