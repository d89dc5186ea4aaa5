// Sparse bytes in shared pages: a copy costs a pointer per page, a write copies only the pages it touches.
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
      if (page >= pages_.size() || !pages_[page]) ++count;
    return count * page_bytes;
  }

  std::size_t read(std::uint64_t offset, MutableBytes out) const {
    if (offset >= size_) return 0;
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), size_ - offset));
    for (std::size_t done = 0; done < count;) {
      const std::uint64_t page = (offset + done) / page_bytes;
      const auto within = static_cast<std::size_t>((offset + done) % page_bytes);
      const std::size_t part = std::min<std::size_t>(count - done, page_bytes - within);
      if (page < pages_.size() && pages_[page])
        std::memcpy(out.data() + done, pages_[page]->data() + within, part);
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
    for (std::uint64_t page = count; page < pages_.size(); ++page) drop(page);
    pages_.resize(count);
    if (size < size_ && size % page_bytes != 0 && pages_.back()) {
      Page& last = own(count - 1);
      std::fill(last.begin() + static_cast<std::ptrdiff_t>(size % page_bytes), last.end(), std::uint8_t{0});
    }
    size_ = size;
  }

  void allocate(std::uint64_t size) {
    static const auto zeros = std::make_shared<Page>();
    if (size > size_) resize(size);
    for (std::uint64_t page = 0; page < (size + page_bytes - 1) / page_bytes; ++page) {
      if (pages_[page]) continue;
      pages_[page] = zeros;
      ++pages_held_;
    }
  }

  void punch(std::uint64_t offset, std::uint64_t length) {
    const std::uint64_t end = std::min(offset + length, size_);
    while (offset < end) {
      const std::uint64_t page = offset / page_bytes;
      const std::uint64_t stop = std::min(end, (page + 1) * page_bytes);
      if (offset % page_bytes == 0 && (stop % page_bytes == 0 || stop == size_)) {
        drop(page);
      } else if (pages_[page]) {
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
      if (page >= pages_.size()) break;
      drop(page);
      pages_[page] = page < from.pages_.size() ? from.pages_[page] : nullptr;
      if (pages_[page]) ++pages_held_;
    }
  }

 private:
  using Page = std::array<std::uint8_t, page_bytes>;

  Page& own(std::uint64_t page) {
    auto& slot = pages_[page];
    if (!slot) {
      slot = std::make_shared<Page>();
      ++pages_held_;
    } else if (slot.use_count() > 1) {
      slot = std::make_shared<Page>(*slot);
    }
    return *slot;
  }
  void drop(std::uint64_t page) {
    if (page >= pages_.size() || !pages_[page]) return;
    pages_[page].reset();
    --pages_held_;
  }

  std::uint64_t size_ = 0;
  std::uint64_t pages_held_ = 0;
  std::vector<std::shared_ptr<Page>> pages_;
};

}  // namespace atl
