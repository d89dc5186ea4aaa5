#include <algorithm>
#include <utility>

#include "cache/staging/segment_entry.h"
#include "engine/base/mutant.h"

namespace atl {
namespace {

class LocalSegmentFile final : public SegmentFile {
 public:
  LocalSegmentFile(std::shared_ptr<StoreState> store, std::shared_ptr<SegmentEntry> entry, std::shared_ptr<File> file)
      : store_(std::move(store)), entry_(std::move(entry)), file_(std::move(file)) {}

  SegmentId id() const override { return entry_->id; }

  std::uint64_t size() const override {
    const std::lock_guard lock(entry_->mutex);
    return entry_->size;
  }

  bool holds(std::uint64_t offset, std::uint64_t length) const override {
    const std::lock_guard lock(entry_->mutex);
    return entry_->holds(offset, length);
  }

  Result<> read(std::uint64_t offset, MutableBytes out) override {
    if (!holds(offset, out.size()))
      return fail(Code::io,
                  name() + " does not hold " + std::to_string(out.size()) + " bytes at " + std::to_string(offset));
    auto file = this->file();
    if (!file) return fail(file.error());
    auto count = (*file)->read(offset, out);
    if (!count) return fail(count.error());
    if (*count != out.size()) return fail(Code::corrupt, name() + " is shorter on disk than it was written");
    return {};
  }

  Result<> write(std::uint64_t offset, ByteView in) override {
    {
      const std::lock_guard lock(entry_->mutex);
      if (entry_->kind != SegmentKind::staged)
        return fail(Code::invalid, name() + " is a cached copy and takes no writes");
      if (entry_->poisoned) return refused();
      const std::uint64_t limit = entry_->finished ? entry_->size : entry_->capacity;
      if (offset > limit || in.size() > limit - offset)
        return fail(Code::no_space,
                    name() + " has no room for " + std::to_string(in.size()) + " bytes at " + std::to_string(offset));
    }
    auto file = this->file();
    if (!file) return fail(file.error());
    {
      // Before the write: a flush that begins meanwhile must not take the segment for flushed.
      const std::lock_guard lock(entry_->mutex);
      entry_->unsynced = true;
      entry_->pinned = *file;
    }
    if (auto written = (*file)->write(offset, in); !written) return written;
    const std::lock_guard lock(entry_->mutex);
    entry_->unsynced = true;
    entry_->pinned = *file;
    const std::uint64_t end = offset + in.size();
    if (end > entry_->size) {
      if (!entry_->gone && entry_->kind == SegmentKind::staged) store_->staged_bytes += end - entry_->size;
      entry_->size = end;
    }
    return {};
  }

  Result<> sync() override {
    auto file = this->file();
    if (!file) return fail(file.error());
    {
      const std::lock_guard lock(entry_->mutex);
      if (entry_->poisoned) return refused();
      entry_->unsynced = false;
    }
    auto synced = (*file)->sync();
    std::shared_ptr<File> unpinned;  // closed outside of the lock
    const std::lock_guard lock(entry_->mutex);
    if (!synced) {
      entry_->poisoned = !mutant("segment-flush-forgiven");
      return synced;
    }
    if (entry_->poisoned) return refused();  // by a flush that ran beside this one: nobody knows what it dropped
    if (!entry_->unsynced && entry_->finished) unpinned = std::move(entry_->pinned);
    return {};
  }

  void fill(std::uint64_t offset, ByteView blocks) override {
    std::uint64_t size = 0;
    {
      const std::lock_guard lock(entry_->mutex);
      if (entry_->kind != SegmentKind::partial || entry_->gone || store_->closed) return;
      size = entry_->size;
    }
    if (offset % cache_block_bytes != 0 || offset >= size) return;
    blocks = blocks.first(static_cast<std::size_t>(std::min<std::uint64_t>(blocks.size(), size - offset)));
    // A block that is not complete is not kept, unless the segment ends in it.
    if (offset + blocks.size() < size && !mutant("cache-half-blocks")) blocks = blocks.first(blocks.size() - blocks.size() % cache_block_bytes);
    if (blocks.empty()) return;
    auto file = this->file();
    if (!file || !(*file)->write(offset, blocks)) return;
    const std::lock_guard lock(entry_->mutex);
    if (entry_->gone || entry_->kind != SegmentKind::partial) return;
    entry_->unsynced = true;
    for (std::uint64_t at = offset; at < offset + blocks.size(); at += cache_block_bytes) {
      const std::uint64_t block = at / cache_block_bytes;
      const std::uint64_t bit = std::uint64_t{1} << (block % 64);
      if ((entry_->blocks[block / 64] & bit) != 0) continue;
      entry_->blocks[block / 64] |= bit;
      const std::uint64_t bytes = std::min<std::uint64_t>(cache_block_bytes, size - at);
      entry_->held += bytes;
      store_->cached_bytes += bytes;
    }
  }

  Result<std::shared_ptr<const std::uint8_t>> map(std::uint64_t offset, std::uint64_t length) override {
    if (!holds(offset, length)) return fail(Code::io, name() + " does not hold what was to be mapped of it");
    auto file = this->file();
    if (!file) return fail(file.error());
    auto on_disk = (*file)->size();
    if (!on_disk) return fail(on_disk.error());
    // Touching a mapping behind the end of its file ends the process.
    if (*on_disk < offset + length) return fail(Code::corrupt, name() + " is shorter on disk than it was written");
    return (*file)->map(offset, length);
  }

 private:
  std::string name() const { return "segment " + std::to_string(entry_->id.value); }

  tl::unexpected<Error> refused() const {
    return fail(Code::io, name() + " takes no more writes since a flush failed", "check the disk");
  }

  /// The open file. Opened here only if it could not be when the handle was made.
  Result<std::shared_ptr<File>> file() {
    {
      const std::lock_guard lock(mutex_);
      if (file_) return file_;
    }
    auto opened = store_->file_of(entry_);
    if (!opened) return opened;
    const std::lock_guard lock(mutex_);
    file_ = *opened;
    return opened;
  }

  const std::shared_ptr<StoreState> store_;
  const std::shared_ptr<SegmentEntry> entry_;
  std::mutex mutex_;  // guards file_
  std::shared_ptr<File> file_;
};

}  // namespace

std::shared_ptr<SegmentFile> make_segment_file(std::shared_ptr<StoreState> store, std::shared_ptr<SegmentEntry> entry,
                                               std::shared_ptr<File> file) {
  return std::make_shared<LocalSegmentFile>(std::move(store), std::move(entry), std::move(file));
}

}  // namespace atl
