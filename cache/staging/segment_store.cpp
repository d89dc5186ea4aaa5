#include "cache/staging/segment_store.h"

#include <algorithm>
#include <cassert>
#include <charconv>
#include <map>
#include <optional>
#include <utility>

#include "cache/staging/cache_index.h"
#include "cache/staging/segment_entry.h"
#include "cache/staging/segment_format.h"
#include "engine/base/mutant.h"

namespace atl {
namespace {

constexpr std::string_view whole_suffix = ".seg";
constexpr std::string_view partial_suffix = ".part";
constexpr std::size_t id_digits = 16;
constexpr std::uint64_t cache_index_bytes_max = 256ull << 20;

/// The segment that a file name of this suffix stands for.
std::optional<SegmentId> id_of(std::string_view name, std::string_view suffix) {
  if (name.size() != id_digits + suffix.size() || !name.ends_with(suffix)) return std::nullopt;
  const std::string_view digits = name.substr(0, id_digits);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return SegmentId(value);
}

class LocalSegmentStore final : public SegmentStore {
 public:
  explicit LocalSegmentStore(std::shared_ptr<StoreState> state) : state_(std::move(state)) {}

  Result<> load(const std::function<Standing(SegmentId)>& standing);

  Result<> close() override;
  Result<std::shared_ptr<SegmentFile>> create(SegmentId id, std::uint64_t capacity) override;
  Result<> finish(SegmentId id, std::uint64_t size) override;
  std::shared_ptr<SegmentFile> find(SegmentId id) override;
  Result<std::shared_ptr<SegmentFile>> find_or_create_cached(SegmentId id, std::uint64_t size) override;
  Result<> mark_cached(SegmentId id) override;
  Result<> remove(SegmentId id) override;
  std::uint64_t shrink_cache(std::uint64_t limit) override;
  SegmentStoreUsage usage() const override { return {state_->staged_bytes, state_->cached_bytes}; }

 private:
  struct Found {
    SegmentId id;
    SegmentKind kind;
  };
  Result<std::vector<Found>> list_files();
  Result<std::vector<CachedFileNote>> take_cache_index();
  Result<> check_staged(SegmentId id, SegmentKind where);
  Result<std::uint64_t> size_on_disk(SegmentId id, SegmentKind kind);
  static tl::unexpected<Error> missing(SegmentId id) {
    return fail(Code::not_found, "there is no local file of segment " + std::to_string(id.value));
  }

  const std::shared_ptr<StoreState> state_;
};

Result<std::vector<LocalSegmentStore::Found>> LocalSegmentStore::list_files() {
  std::vector<Found> found;
  auto staged = state_->disk.list(state_->staging());
  if (!staged) return fail(staged.error());
  for (const auto& name : *staged)
    if (const auto id = id_of(name, whole_suffix)) found.push_back({*id, SegmentKind::staged});
  auto cached = state_->disk.list(state_->cache());
  if (!cached) return fail(cached.error());
  for (const auto& name : *cached) {
    if (const auto id = id_of(name, whole_suffix)) found.push_back({*id, SegmentKind::whole});
    if (const auto id = id_of(name, partial_suffix)) found.push_back({*id, SegmentKind::partial});
  }
  return found;
}

/// What the last clean close wrote down; empty if there was none. Durably gone when this returns.
Result<std::vector<CachedFileNote>> LocalSegmentStore::take_cache_index() {
  const std::string path = state_->cache() + "/index";
  auto bytes = read_file(state_->disk, path, cache_index_bytes_max);
  if (!bytes && bytes.error().code == Code::not_found) return std::vector<CachedFileNote>();
  // Unreadable is as good as absent, as long as it can be removed.
  if (!mutant("cache-index-kept")) {
    if (auto removed = state_->disk.remove(path); !removed) return fail(removed.error());
    if (auto synced = state_->disk.sync_directory(state_->cache()); !synced) return fail(synced.error());
  }
  std::optional<std::vector<CachedFileNote>> notes;
  if (bytes) notes = decode_cache_index(*bytes, state_->volume);
  return notes ? std::move(*notes) : std::vector<CachedFileNote>();
}

/// A file that must be kept is of this drive and of a format that is known. Damage is for its readers to find: what of
/// its extents can be opened is still wanted.
Result<> LocalSegmentStore::check_staged(SegmentId id, SegmentKind where) {
  const std::string path = state_->path(id, where);
  auto file = state_->disk.open(path, OpenMode::read);
  if (!file) return fail(file.error());
  Bytes bytes(segment_header_bytes);
  auto count = (*file)->read(0, bytes);
  if (!count) return fail(count.error());
  const auto header = decode_segment_header(ByteView(bytes).first(*count), path);
  if (!header) {
    if (header.error().code == Code::newer_format) return fail(header.error());
    return {};
  }
  if (header->volume != state_->volume)
    return fail(Code::key, "the segment file " + path + " belongs to another drive",
                "check that the state folder was not mixed up");
  return {};
}

Result<std::uint64_t> LocalSegmentStore::size_on_disk(SegmentId id, SegmentKind kind) {
  auto file = state_->disk.open(state_->path(id, kind), OpenMode::read);
  if (!file) return fail(file.error());
  return (*file)->size();
}

Result<> LocalSegmentStore::load(const std::function<Standing(SegmentId)>& standing) {
  Disk& disk = state_->disk;
  for (const auto& path : {state_->staging(), state_->cache()})
    if (auto made = disk.make_directory(path); !made) return made;
  if (auto synced = disk.sync_directory(state_->directory); !synced) return synced;

  auto listed = list_files();
  if (!listed) return fail(listed.error());
  std::map<SegmentId, Standing> standings;
  for (const auto& found : *listed) {
    const auto [it, fresh] = standings.try_emplace(found.id, Standing::unknown);
    if (fresh) it->second = standing(found.id);
    if (it->second != Standing::staged || found.kind == SegmentKind::partial) continue;
    if (auto sound = check_staged(found.id, found.kind); !sound) return sound;
  }

  // All that is here may stay; now files may move and go.
  auto notes = take_cache_index();
  if (!notes) return fail(notes.error());
  std::map<SegmentId, const CachedFileNote*> noted;
  for (const auto& note : *notes) noted[note.id] = &note;

  std::map<SegmentId, StoreState::EntryPtr> cached;
  std::map<SegmentId, SegmentKind> kept;
  std::ranges::stable_sort(*listed, {}, &Found::kind);  // of two copies the staged one first, then the whole one
  for (auto [id, kind] : *listed) {
    const Standing stands = standings.at(id);
    if (const auto it = kept.find(id); it != kept.end() && it->second == kind) continue;  // replaced by a rename below
    // What nodes do not hold in full cannot have a partial copy.
    const bool useless = stands == Standing::unknown || kept.contains(id) ||
                         (kind == SegmentKind::partial && (stands == Standing::staged || !noted.contains(id)));
    if (useless) {
      if (auto removed = disk.remove(state_->path(id, kind)); !removed) return removed;
      continue;
    }
    const SegmentKind wanted = stands == Standing::staged     ? SegmentKind::staged
                               : kind == SegmentKind::partial ? kind
                                                              : SegmentKind::whole;
    if (wanted != kind)
      if (auto moved = disk.rename(state_->path(id, kind), state_->path(id, wanted)); !moved) return moved;
    auto size = size_on_disk(id, wanted);
    if (!size) return fail(size.error());
    auto entry = std::make_shared<SegmentEntry>(id);
    entry->kind = wanted;
    entry->size = entry->capacity = *size;
    if (wanted == SegmentKind::partial) {
      const CachedFileNote& note = *noted.at(id);
      if (note.whole || note.size != *size) {
        if (auto removed = disk.remove(state_->path(id, kind)); !removed) return removed;
        continue;
      }
      entry->blocks = note.blocks;
      for (std::uint64_t at = 0; at < *size; at += cache_block_bytes)
        if (entry->holds(at, 1)) entry->held += std::min<std::uint64_t>(cache_block_bytes, *size - at);
    }
    kept[id] = wanted;
    if (wanted == SegmentKind::staged)
      state_->add(entry);
    else
      cached[id] = entry;
  }
  // Cached ones in the order in which they were used, those that nobody noted first.
  for (const auto& [id, entry] : cached)
    if (!noted.contains(id)) state_->add(entry);
  for (const auto& note : *notes)
    if (const auto it = cached.find(note.id); it != cached.end()) state_->add(it->second);
  return {};
}

Result<> LocalSegmentStore::close() {
  const std::lock_guard names(state_->names);
  if (state_->closed.exchange(true)) return {};
  std::vector<StoreState::EntryPtr> order;
  {
    const std::lock_guard lock(state_->mutex);
    order.assign(state_->cache_order.begin(), state_->cache_order.end());
  }
  std::vector<CachedFileNote> notes;
  for (const auto& entry : order) {
    CachedFileNote note;
    bool unsynced = false;
    {
      const std::lock_guard lock(entry->mutex);
      note = {entry->id, entry->size, entry->kind == SegmentKind::whole, entry->blocks};
      unsynced = entry->kind == SegmentKind::partial && entry->unsynced;
    }
    // Blocks that a power cut could still take are not noted.
    if (unsynced) {
      auto file = state_->file_of(entry);
      if (!file || !(*file)->sync()) continue;
    }
    notes.push_back(std::move(note));
  }
  if (notes.empty()) return {};
  return replace_file(state_->disk, state_->cache() + "/index", encode_cache_index(state_->volume, notes));
}

Result<std::shared_ptr<SegmentFile>> LocalSegmentStore::create(SegmentId id, std::uint64_t capacity) {
  assert(capacity >= segment_header_bytes);
  if (state_->closed) return fail(Code::cancelled, "the segment store is closed");
  const std::string path = state_->path(id, SegmentKind::staged);
  if (state_->find(id)) return fail(Code::exists, "segment " + std::to_string(id.value) + " exists");
  auto opened = state_->disk.open(path, OpenMode::create_new);
  if (!opened) return fail(opened.error());
  std::shared_ptr<File> file = std::move(*opened);
  const auto give_up = [&](const Error& error) {
    file.reset();
    (void)state_->disk.remove(path);  // else the next open() does it: nobody knows this segment
    return fail(error);
  };
  if (auto allocated = file->allocate(capacity); !allocated) return give_up(allocated.error());
  if (auto written = file->write(0, encode_segment_header(state_->volume, id)); !written)
    return give_up(written.error());
  if (auto synced = file->sync(); !synced) return give_up(synced.error());
  if (!mutant("segment-name-unflushed"))
    if (auto synced = state_->disk.sync_directory(state_->staging()); !synced) return give_up(synced.error());

  auto entry = std::make_shared<SegmentEntry>(id);
  entry->size = segment_header_bytes;
  entry->capacity = capacity;
  entry->pinned = file;
  state_->add(entry);
  state_->keep_open(entry, file);
  return make_segment_file(state_, entry, file);
}

Result<> LocalSegmentStore::finish(SegmentId id, std::uint64_t size) {
  const auto entry = state_->find(id);
  if (!entry) return missing(id);
  {
    const std::lock_guard lock(entry->mutex);
    if (entry->kind != SegmentKind::staged || (entry->finished && entry->size == size)) return {};
    if (size > entry->capacity)
      return fail(Code::corrupt, "the staged file of segment " + std::to_string(id.value) + " is too short to end at " +
                                     std::to_string(size));
  }
  auto file = state_->file_of(entry);
  if (!file) return fail(file.error());
  if (auto cut = (*file)->truncate(size); !cut) return cut;
  {
    const std::lock_guard lock(entry->mutex);
    if (!entry->gone && entry->kind == SegmentKind::staged) {
      state_->staged_bytes += size;
      state_->staged_bytes -= entry->size;
    }
    entry->size = entry->capacity = size;
    entry->finished = true;
  }
  return make_segment_file(state_, entry, *file)->sync();
}

std::shared_ptr<SegmentFile> LocalSegmentStore::find(SegmentId id) {
  const auto entry = state_->find(id);
  if (!entry) return nullptr;
  state_->touch(entry);
  auto file = state_->file_of(entry);
  if (!file) {
    const std::lock_guard lock(entry->mutex);
    if (entry->gone) return nullptr;
  }
  return make_segment_file(state_, entry, file ? *file : nullptr);
}

Result<std::shared_ptr<SegmentFile>> LocalSegmentStore::find_or_create_cached(SegmentId id, std::uint64_t size) {
  if (auto found = find(id)) return found;
  const std::lock_guard names(state_->names);
  if (state_->closed) return fail(Code::cancelled, "the segment store is closed");
  if (auto found = find(id)) return found;
  const std::string path = state_->path(id, SegmentKind::partial);
  auto opened = state_->disk.open(path, OpenMode::create);
  if (!opened) return fail(opened.error());
  std::shared_ptr<File> file = std::move(*opened);
  auto entry = std::make_shared<SegmentEntry>(id);
  entry->kind = SegmentKind::partial;
  entry->size = entry->capacity = size;
  entry->blocks.resize(cache_block_words(size));
  if (auto sized = file->truncate(size); !sized) {
    (void)state_->disk.remove(path);
    return fail(sized.error());
  }
  state_->add(entry);
  state_->keep_open(entry, file);
  return make_segment_file(state_, entry, file);
}

Result<> LocalSegmentStore::mark_cached(SegmentId id) {
  const std::lock_guard names(state_->names);
  const auto entry = state_->find(id);
  if (!entry) return missing(id);
  {
    const std::lock_guard lock(entry->mutex);
    if (entry->kind != SegmentKind::staged) return {};
  }
  auto renamed = state_->disk.rename(state_->path(id, SegmentKind::staged), state_->path(id, SegmentKind::whole));
  if (!renamed) return renamed;
  std::shared_ptr<File> unpinned;  // closed outside of the locks
  const std::lock_guard lock(state_->mutex);
  const std::lock_guard entry_lock(entry->mutex);
  entry->kind = SegmentKind::whole;
  entry->finished = true;
  unpinned = std::move(entry->pinned);
  state_->staged_bytes -= entry->size;
  state_->cached_bytes += entry->size;
  entry->cache_place = state_->cache_order.insert(state_->cache_order.end(), entry);
  entry->in_cache = true;
  return {};
}

Result<> LocalSegmentStore::remove(SegmentId id) {
  const std::lock_guard names(state_->names);
  const auto entry = state_->find(id);
  if (!entry) return missing(id);
  const SegmentKind kind = entry->kind;  // changes only under `names`
  state_->forget(entry);
  return state_->disk.remove(state_->path(id, kind));
}

std::uint64_t LocalSegmentStore::shrink_cache(std::uint64_t limit) {
  if (state_->cached_bytes <= limit) return 0;
  const std::lock_guard names(state_->names);
  std::uint64_t freed = 0;
  while (state_->cached_bytes > limit || limit == 0) {
    StoreState::EntryPtr entry;
    {
      const std::lock_guard lock(state_->mutex);
      if (state_->cache_order.empty()) break;
      entry = state_->cache_order.front();
    }
    const SegmentKind kind = entry->kind;
    freed += state_->forget(entry);
    (void)state_->disk.remove(state_->path(entry->id, kind));  // else the next open() finds it, and may keep it
  }
  return freed;
}

}  // namespace

Result<std::unique_ptr<SegmentStore>> SegmentStore::open(Disk& disk, const std::string& directory,
                                                         const VolumeId& volume,
                                                         const std::function<Standing(SegmentId)>& standing) {
  auto store = std::make_unique<LocalSegmentStore>(std::make_shared<StoreState>(disk, directory, volume));
  if (auto loaded = store->load(standing); !loaded) return fail(loaded.error());
  return std::unique_ptr<SegmentStore>(std::move(store));
}

}  // namespace atl
