// Sparse bytes in shared pages: a copy costs a pointer for 64 of them, a write copies only the pages it touches.
// What MemoryDisk keeps a file's content in. Not thread-safe.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include "engine/base/bytes.h"

namespace atl {

class PagedBytes {
 public:
  static constexpr std::uint64_t page_bytes = 4096;

  std::uint64_t size() const { return size_; }
  std::uint64_t allocated() const { return pages_held_ * page_bytes; }

  /// Bytes that writing or allocating [offset, offset + length) would add to allocated().
  std::uint64_t missing(std::uint64_t offset, std::uint64_t length) const {
    if (length == 0) return 0;
    std::uint64_t count = 0;
    for (std::uint64_t page = offset / page_bytes; page <= (offset + length - 1) / page_bytes; ++page)
      if (find(page) == nullptr) ++count;
    return count * page_bytes;
  }

  std::size_t read(std::uint64_t offset, MutableBytes out) const {
    if (offset >= size_) return 0;
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), size_ - offset));
    for (std::size_t done = 0; done < count;) {
      const std::uint64_t page = (offset + done) / page_bytes;
      const auto within = static_cast<std::size_t>((offset + done) % page_bytes);
      const std::size_t part = std::min<std::size_t>(count - done, page_bytes - within);
      if (const Page* held = find(page))
        std::memcpy(out.data() + done, held->data() + within, part);
      else
        std::memset(out.data() + done, 0, part);
      done += part;
    }
    return count;
  }

  void write(std::uint64_t offset, ByteView in) {
    if (in.empty()) return;
    if (offset + in.size() > size_) resize(offset + in.size());
    for (std::size_t done = 0; done < in.size();) {
      const std::uint64_t page = (offset + done) / page_bytes;
      const auto within = static_cast<std::size_t>((offset + done) % page_bytes);
      const std::size_t part = std::min<std::size_t>(in.size() - done, page_bytes - within);
      std::memcpy(own(page).data() + within, in.data() + done, part);
      done += part;
    }
  }

  void resize(std::uint64_t size) {
    const std::uint64_t count = (size + page_bytes - 1) / page_bytes;
    const std::uint64_t old_count = (size_ + page_bytes - 1) / page_bytes;
    for (std::uint64_t page = count; page < old_count;) {
      if (page % chunk_pages == 0) {
        drop_chunk(page / chunk_pages);
        page += chunk_pages;
      } else {
        drop(page++);
      }
    }
    chunks_.resize((count + chunk_pages - 1) / chunk_pages);
    if (size < size_ && size % page_bytes != 0 && find(count - 1) != nullptr) {
      Page& last = own(count - 1);
      std::fill(last.begin() + static_cast<std::ptrdiff_t>(size % page_bytes), last.end(), std::uint8_t{0});
    }
    size_ = size;
  }

  void allocate(std::uint64_t size) {
    if (size > size_) resize(size);
    const std::uint64_t count = (size + page_bytes - 1) / page_bytes;
    for (std::uint64_t page = 0; page < count;) {
      auto& chunk = chunks_[page / chunk_pages];
      if (!chunk && page % chunk_pages == 0 && count - page >= chunk_pages) {
        chunk = zero_chunk();
        pages_held_ += chunk_pages;
        page += chunk_pages;
        continue;
      }
      if (find(page) == nullptr) {
        own_chunk(page).pages[page % chunk_pages] = zero_page();
        ++pages_held_;
      }
      ++page;
    }
  }

  void punch(std::uint64_t offset, std::uint64_t length) {
    const std::uint64_t end = std::min(offset + length, size_);
    while (offset < end) {
      const std::uint64_t page = offset / page_bytes;
      const std::uint64_t stop = std::min(end, (page + 1) * page_bytes);
      if (offset % page_bytes == 0 && (stop % page_bytes == 0 || stop == size_)) {
        drop(page);
      } else if (find(page) != nullptr) {
        Page& bytes = own(page);
        std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset % page_bytes), stop - offset, std::uint8_t{0});
      }
      offset = stop;
    }
  }

  /// Takes over the pages of a range from another content, and its size. Bytes outside the range stay.
  void share(const PagedBytes& from, std::uint64_t offset, std::uint64_t length) {
    if (from.size_ > size_) resize(from.size_);
    if (length == 0) return;
    for (std::uint64_t page = offset / page_bytes; page <= (offset + length - 1) / page_bytes; ++page) {
      if (page * page_bytes >= size_) break;
      const Page* other = from.find(page);
      if (find(page) == other) continue;
      drop(page);
      if (other == nullptr) continue;
      own_chunk(page).pages[page % chunk_pages] = from.chunks_[page / chunk_pages]->pages[page % chunk_pages];
      ++pages_held_;
    }
  }

 private:
  using Page = std::array<std::uint8_t, page_bytes>;
  static constexpr std::uint64_t chunk_pages = 64;
  struct Chunk {
    std::array<std::shared_ptr<Page>, chunk_pages> pages;
  };

  static const std::shared_ptr<Page>& zero_page() {
    static const auto page = std::make_shared<Page>();
    return page;
  }
  static const std::shared_ptr<Chunk>& zero_chunk() {
    static const auto chunk = [] {
      auto made = std::make_shared<Chunk>();
      made->pages.fill(zero_page());
      return made;
    }();
    return chunk;
  }

  const Page* find(std::uint64_t page) const {
    const std::uint64_t chunk = page / chunk_pages;
    return chunk < chunks_.size() && chunks_[chunk] ? chunks_[chunk]->pages[page % chunk_pages].get() : nullptr;
  }
  Chunk& own_chunk(std::uint64_t page) {
    auto& chunk = chunks_[page / chunk_pages];
    if (!chunk) {
      chunk = std::make_shared<Chunk>();
    } else if (chunk.use_count() > 1) {
      chunk = std::make_shared<Chunk>(*chunk);
    }
    return *chunk;
  }
  Page& own(std::uint64_t page) {
    auto& slot = own_chunk(page).pages[page % chunk_pages];
    if (!slot) {
      slot = std::make_shared<Page>();
      ++pages_held_;
    } else if (slot.use_count() > 1) {
      slot = std::make_shared<Page>(*slot);
    }
    return *slot;
  }
  void drop(std::uint64_t page) {
    if (find(page) == nullptr) return;
    own_chunk(page).pages[page % chunk_pages].reset();
    --pages_held_;
  }
  void drop_chunk(std::uint64_t chunk) {
    if (chunk >= chunks_.size() || !chunks_[chunk]) return;
    for (const auto& page : chunks_[chunk]->pages)
      if (page) --pages_held_;
    chunks_[chunk].reset();
  }

  std::uint64_t size_ = 0;
  std::uint64_t pages_held_ = 0;
  std::vector<std::shared_ptr<Chunk>> chunks_;
};

}  // namespace atl
