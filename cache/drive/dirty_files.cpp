#include "cache/drive/dirty_files.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cache/sealing/extent_sealer.h"

namespace atl {

void DirtyFiles::put(InodeNumber inode, std::uint64_t offset, ByteView in, const std::optional<Timestamp>& time) {
  File& file = files_[inode];
  if (time) file.written_at = time;
  while (!in.empty()) {
    const std::uint64_t block_end = (offset / extent_bytes_max + 1) * extent_bytes_max;
    const std::size_t count = static_cast<std::size_t>(std::min<std::uint64_t>(in.size(), block_end - offset));
    put_in_block(file.ranges, offset, in.first(count));
    offset += count;
    in = in.subspan(count);
  }
}

void DirtyFiles::put_in_block(Ranges& ranges, std::uint64_t offset, ByteView in) {
  const auto before = [&ranges](std::uint64_t at) {
    const auto after = ranges.upper_bound(at);
    return after == ranges.begin() ? ranges.end() : std::prev(after);
  };
  if (const auto around = before(offset); around != ranges.end() && offset + in.size() <= around->first + around->second.size()) {
    std::memcpy(around->second.data() + (offset - around->first), in.data(), in.size());
    return;
  }
  cut_in(ranges, offset, offset + in.size());
  bytes_ += in.size();
  const auto left = before(offset);
  const bool continues = left != ranges.end() && left->first + left->second.size() == offset &&
                         left->first / extent_bytes_max == offset / extent_bytes_max;
  if (continues) {
    left->second.insert(left->second.end(), in.begin(), in.end());
  } else {
    ranges.emplace(offset, Bytes(in.begin(), in.end()));
  }
}

void DirtyFiles::cut_in(Ranges& ranges, std::uint64_t offset, std::uint64_t end) {
  auto it = ranges.lower_bound(offset);
  if (it != ranges.begin()) {
    auto before = std::prev(it);
    const std::uint64_t before_end = before->first + before->second.size();
    if (before_end > offset) {
      if (before_end > end) {  // the tail behind the cut is a range of its own
        const auto tail = before->second.begin() + static_cast<std::ptrdiff_t>(end - before->first);
        ranges.emplace(end, Bytes(tail, before->second.end()));
        bytes_ += before_end - end;
      }
      bytes_ -= before_end - offset;
      before->second.resize(static_cast<std::size_t>(offset - before->first));
    }
  }
  it = ranges.lower_bound(offset);
  while (it != ranges.end() && it->first < end) {
    const std::uint64_t range_end = it->first + it->second.size();
    if (range_end > end) {
      const auto tail = it->second.begin() + static_cast<std::ptrdiff_t>(end - it->first);
      ranges.emplace(end, Bytes(tail, it->second.end()));
      bytes_ += range_end - end;
    }
    bytes_ -= it->second.size();
    it = ranges.erase(it);
  }
}

void DirtyFiles::cut(InodeNumber inode, std::uint64_t offset, std::uint64_t length) {
  const auto file = files_.find(inode);
  if (file == files_.end() || length == 0) return;
  const std::uint64_t end = length > ~std::uint64_t{0} - offset ? ~std::uint64_t{0} : offset + length;
  cut_in(file->second.ranges, offset, end);
  if (file->second.ranges.empty()) files_.erase(file);
}

void DirtyFiles::drop(InodeNumber inode) {
  const auto file = files_.find(inode);
  if (file == files_.end()) return;
  for (const auto& [offset, bytes] : file->second.ranges) bytes_ -= bytes.size();
  files_.erase(file);
}

void DirtyFiles::each_in(InodeNumber inode, std::uint64_t offset, std::uint64_t length,
                         const std::function<void(std::uint64_t, ByteView)>& visit) const {
  const auto file = files_.find(inode);
  if (file == files_.end()) return;
  const std::uint64_t end = offset + length;
  const Ranges& ranges = file->second.ranges;
  auto it = ranges.upper_bound(offset);
  if (it != ranges.begin()) --it;
  for (; it != ranges.end() && it->first < end; ++it) {
    const std::uint64_t begin = std::max(offset, it->first);
    const std::uint64_t stop = std::min(end, it->first + it->second.size());
    if (begin < stop) visit(begin, ByteView(it->second).subspan(begin - it->first, stop - begin));
  }
}

std::uint64_t DirtyFiles::end(InodeNumber inode) const {
  const auto file = files_.find(inode);
  if (file == files_.end()) return 0;
  const auto& last = *file->second.ranges.rbegin();
  return last.first + last.second.size();
}

std::optional<std::uint64_t> DirtyFiles::next(InodeNumber inode, std::uint64_t offset) const {
  const auto file = files_.find(inode);
  if (file == files_.end()) return std::nullopt;
  const Ranges& ranges = file->second.ranges;
  auto it = ranges.upper_bound(offset);
  if (it != ranges.begin() && std::prev(it)->first + std::prev(it)->second.size() > offset) return offset;
  return it == ranges.end() ? std::nullopt : std::optional(it->first);
}

std::uint64_t DirtyFiles::bytes_of(InodeNumber inode) const {
  const auto file = files_.find(inode);
  std::uint64_t sum = 0;
  if (file != files_.end())
    for (const auto& [offset, bytes] : file->second.ranges) sum += bytes.size();
  return sum;
}

std::optional<Timestamp> DirtyFiles::written_at(InodeNumber inode) const {
  const auto file = files_.find(inode);
  return file == files_.end() ? std::nullopt : file->second.written_at;
}

std::optional<Timestamp> DirtyFiles::take_written_at(InodeNumber inode) {
  const auto file = files_.find(inode);
  return file == files_.end() ? std::nullopt : std::exchange(file->second.written_at, std::nullopt);
}

std::vector<std::uint32_t> DirtyFiles::lengths() const {
  std::vector<std::uint32_t> all;
  for (const auto& [inode, file] : files_)
    for (const auto& [offset, bytes] : file.ranges) all.push_back(static_cast<std::uint32_t>(bytes.size()));
  return all;
}

std::vector<DirtyFiles::Range> DirtyFiles::take_all() {
  std::vector<Range> all;
  for (auto& [inode, file] : files_)
    for (auto& [offset, bytes] : file.ranges) all.push_back({inode, offset, std::move(bytes), file.written_at});
  files_.clear();
  bytes_ = 0;
  return all;
}

}  // namespace atl
