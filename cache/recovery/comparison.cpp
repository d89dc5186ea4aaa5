#include "cache/recovery/comparison.h"

#include <sys/stat.h>

#include <algorithm>

namespace atl {
namespace {

constexpr std::size_t page_entries = 1024;
constexpr std::size_t chunk_bytes = 1u << 20;
constexpr std::uint64_t piece_bytes = 128u << 10;
/// Suspicions that are kept: where this many things differ, no more need be named.
constexpr std::size_t suspicions_max = 100'000;

bool is(std::uint32_t mode, std::uint32_t type) { return (mode & S_IFMT) == type; }

}  // namespace

void Comparison::suspect(const File& file, std::string what, bool name, bool atime) {
  if (suspicions_.size() < suspicions_max) suspicions_.push_back({{file.path, std::move(what)}, file.inode, file.parent, name, atime});
}

Result<std::map<std::string, Comparison::Name>> Comparison::list(Drive& drive, InodeNumber directory) {
  std::map<std::string, Name> names;
  std::uint64_t cookie = 2;  // behind "." and "..": nobody reads the directory
  for (;;) {
    std::size_t count = 0;
    auto listed = drive.list_directory(directory, cookie, false, [&](const DirectoryEntry& entry) {
      if (count == page_entries) return false;
      names[std::string(entry.name)] = {entry.inode, entry.mode & S_IFMT};
      cookie = entry.cookie;
      ++count;
      return true;
    });
    if (!listed) return fail(listed.error());
    if (count < page_entries) return names;
  }
}

std::optional<Attributes> Comparison::compare_attributes(const File& file, const Changes& known) {
  if (known.changed.contains(file.inode)) return std::nullopt;
  auto copy = copy_.attributes(file.inode);
  if (!copy) {
    suspect(file, "came back without what it is: " + copy.error().what);
    return std::nullopt;
  }
  auto live = live_.attributes(file.inode);
  if (!live) {
    suspect(file, "came back, and is not on the drive");
    return std::nullopt;
  }
  const auto differs = [&](const char* what) {
    suspect(file, std::string(what) + " came back otherwise");
    return std::nullopt;
  };
  if (live->mode != copy->mode || live->uid != copy->uid || live->gid != copy->gid || live->device != copy->device) return differs("its mode or owner");
  if (live->size != copy->size) return differs("its size");
  if (!known.parents.contains(file.inode)) {
    if (live->links != copy->links) return differs("its number of links");
    if (live->mtime != copy->mtime || live->ctime != copy->ctime) return differs("its times");
  }
  if (live->atime != copy->atime && !known.read.contains(file.inode)) suspect(file, "its time of access came back otherwise", false, true);
  const auto live_names = live_.list_xattrs(file.inode);
  const auto copy_names = copy_.list_xattrs(file.inode);
  if (!live_names || !copy_names || *live_names != *copy_names) return differs("its list of attributes");
  for (const std::string& name : *copy_names) {
    const auto live_value = live_.get_xattr(file.inode, name);
    const auto copy_value = copy_.get_xattr(file.inode, name);
    if (!live_value || !copy_value || *live_value != *copy_value) return differs("an attribute");
  }
  if (is(copy->mode, S_IFLNK)) {
    const auto live_target = live_.read_symlink(file.inode);
    const auto copy_target = copy_.read_symlink(file.inode);
    if (!live_target || !copy_target || *live_target != *copy_target) return differs("where it points to");
  }
  return *copy;
}

Result<> Comparison::compare_directory(const File& directory, const Changes& known, std::vector<File>& below) {
  auto copy = list(copy_, directory.inode);
  if (!copy) return fail(copy.error());
  auto live = list(live_, directory.inode);
  if (!live) {
    suspect(directory, "came back as a folder, and cannot be listed here");
    return {};
  }
  const auto path_of = [&](const std::string& name) { return directory.path == "/" ? "/" + name : directory.path + "/" + name; };
  for (const auto& [name, there] : *live)
    if (!copy->contains(name)) suspect({there.inode, directory.inode, path_of(name)}, "did not come back", true);
  for (const auto& [name, here] : *copy) {
    File file{here.inode, directory.inode, path_of(name)};
    ++seen_.names;
    const auto there = live->find(name);
    if (there == live->end()) {
      suspect(file, "came back, and is not on the drive", true);
      continue;
    }
    if (there->second != here) {
      suspect(file, "came back as another file", true);
      continue;
    }
    const auto attributes = compare_attributes(file, known);
    if (is(here.mode, S_IFDIR)) {
      below.push_back(std::move(file));
      continue;
    }
    if (!attributes || !is(here.mode, S_IFREG) || attributes->size == 0) continue;
    if (attributes->links > 1 && !linked_.insert(here.inode).second) continue;
    file.size = attributes->size;
    if (options_.all) {
      if (auto r = compare_content(file); !r) return r;
      continue;
    }
    // Each file is as likely to be in the sample as any other.
    ++candidates_;
    if (sample_.size() < options_.sample_files) {
      sample_.push_back(std::move(file));
    } else if (const std::uint64_t at = random_.u64() % candidates_; at < sample_.size()) {
      sample_[at] = std::move(file);
    }
  }
  return {};
}

bool Comparison::compare_range(const File& file, std::uint64_t offset, std::uint64_t length) {
  Bytes copy(chunk_bytes), live(chunk_bytes);
  for (const std::uint64_t end = offset + length; offset < end;) {
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(chunk_bytes, end - offset));
    const auto got = copy_.read(file.inode, offset, MutableBytes(copy).first(want), false, stop_);
    if (!got) {
      if (got.error().code != Code::cancelled) suspect(file, "its content does not come back: " + got.error().what);
      return false;
    }
    const auto had = live_.read(file.inode, offset, MutableBytes(live).first(want), false, stop_);
    if (!had) {
      if (had.error().code == Code::not_found)
        suspect(file, "came back, and is not on the drive");
      else if (had.error().code != Code::cancelled)
        ++seen_.unreadable_here;
      return false;
    }
    const auto differs = std::mismatch(copy.begin(), copy.begin() + static_cast<std::ptrdiff_t>(*got), live.begin(), live.begin() + static_cast<std::ptrdiff_t>(*had));
    if (*got != *had || differs.first != copy.begin() + static_cast<std::ptrdiff_t>(*got)) {
      suspect(file, "its content came back otherwise, from byte " + std::to_string(offset + static_cast<std::uint64_t>(differs.first - copy.begin())) + " on");
      return false;
    }
    if (*got == 0) {
      suspect(file, "its content came back shorter");
      return false;
    }
    seen_.bytes += *got;
    offset += *got;
  }
  return true;
}

Result<> Comparison::compare_content(const File& file) {
  if (stop_.stop_requested()) return fail(Code::cancelled, "the drill was interrupted");
  ++seen_.files;
  sampled_.push_back(file.inode);
  if (!options_.all && file.size > options_.sample_file_bytes) {
    // Its beginning and end, and pieces between.
    const std::uint64_t pieces = std::max<std::uint64_t>(options_.sample_file_bytes / piece_bytes, 2);
    for (std::uint64_t i = 0; i < pieces; ++i) {
      const std::uint64_t last = file.size - piece_bytes;
      const std::uint64_t at = i == 0 ? 0 : i == 1 ? last : random_.u64() % (last + 1);
      if (!compare_range(file, at, piece_bytes)) return {};
    }
    return {};
  }
  // Holes are compared as such, so that a large one costs nothing.
  for (std::uint64_t at = 0; at < file.size;) {
    if (stop_.stop_requested()) return fail(Code::cancelled, "the drill was interrupted");
    const auto copy_data = copy_.seek(file.inode, at, SeekWhat::data);
    const auto live_data = live_.seek(file.inode, at, SeekWhat::data);
    const std::uint64_t data = std::min(copy_data.value_or(file.size), live_data.value_or(file.size));
    if (data >= file.size) return {};
    const auto copy_hole = copy_.seek(file.inode, data, SeekWhat::hole);
    const std::uint64_t hole = copy_data && *copy_data == data && copy_hole ? std::min(*copy_hole, file.size) : std::min(data + piece_bytes, file.size);
    if (!compare_range(file, data, std::min<std::uint64_t>(hole - data, 64 * chunk_bytes))) return {};
    at = std::min<std::uint64_t>(hole, data + 64 * chunk_bytes);
  }
  return {};
}

Result<> Comparison::run(const Changes& known, const std::function<void(const Seen&)>& progress) {
  const File root{root_inode, root_inode, "/"};
  (void)compare_attributes(root, known);
  std::vector<File> directories{root};
  while (!directories.empty()) {
    if (stop_.stop_requested()) return fail(Code::cancelled, "the drill was interrupted");
    const File directory = std::move(directories.back());
    directories.pop_back();
    if (auto r = compare_directory(directory, known, directories); !r) return r;
    if (progress) progress(seen_);
  }
  for (const File& file : sample_) {
    if (auto r = compare_content(file); !r) return r;
    if (progress) progress(seen_);
  }
  return {};
}

std::vector<Comparison::Difference> Comparison::unexplained(const Changes& changes, std::uint64_t& more) const {
  std::vector<Difference> found;
  more = 0;
  for (const Suspicion& suspicion : suspicions_) {
    const InodeNumber inode = suspicion.inode;
    const bool explained = suspicion.name    ? changes.parents.contains(suspicion.parent)
                           : suspicion.atime ? changes.read.contains(inode) || changes.changed.contains(inode)
                                             : changes.changed.contains(inode) || changes.parents.contains(inode);
    if (explained) continue;
    if (found.size() < differences_max)
      found.push_back(suspicion.difference);
    else
      ++more;
  }
  return found;
}

}  // namespace atl
