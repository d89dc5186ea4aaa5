#include "tests/support/fake_drive.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>

namespace atl {

FakeDrive::FakeDrive() {
  Inode root;
  root.attributes.inode = root_inode;
  root.attributes.mode = S_IFDIR | 0755;
  root.attributes.links = 2;
  root.attributes.atime = root.attributes.mtime = root.attributes.ctime = tick();
  root.lookups = 1;
  inodes_.emplace(root_inode, std::move(root));
}

std::uint64_t FakeDrive::commits() const {
  const std::lock_guard lock(mutex_);
  return commits_;
}

std::uint64_t FakeDrive::lookups_held() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t sum = 0;
  for (const auto& [number, inode] : inodes_) sum += number == root_inode ? 0 : inode.lookups;
  return sum;
}

bool FakeDrive::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

Timestamp FakeDrive::tick() { return SystemClock().wall_now(); }

Result<> FakeDrive::close(Duration) {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  return {};
}

Result<FakeDrive::Inode*> FakeDrive::find(InodeNumber inode) {
  const auto found = inodes_.find(inode);
  if (found == inodes_.end()) return fail(Code::not_found, "no such inode");
  return &found->second;
}

Result<FakeDrive::Inode*> FakeDrive::find_directory(InodeNumber inode) {
  auto found = find(inode);
  if (found && !S_ISDIR((*found)->attributes.mode)) return fail(Code::not_directory, "not a directory");
  return found;
}

Attributes FakeDrive::shown_attributes(const Inode& inode) const {
  Attributes attributes = inode.attributes;
  attributes.allocated_bytes = inode.pages.size() * page_bytes;
  return attributes;
}

Result<Attributes> FakeDrive::lookup(InodeNumber parent, std::string_view name) {
  const std::lock_guard lock(mutex_);
  if (name.size() > name_bytes_max) return fail(Code::name_too_long, "name too long");
  auto directory = find_directory(parent);
  if (!directory) return fail(directory.error());
  const auto entry = (*directory)->entries.find(name);
  if (entry == (*directory)->entries.end()) return fail(Code::not_found, "no such name");
  Inode& inode = inodes_.at(entry->second.second);
  ++inode.lookups;
  return shown_attributes(inode);
}

void FakeDrive::forget(InodeNumber inode, std::uint64_t count) {
  const std::lock_guard lock(mutex_);
  auto found = find(inode);
  if (!found || inode == root_inode) return;
  (*found)->lookups -= std::min(count, (*found)->lookups);
  drop_if_dead(inode);
}

void FakeDrive::drop_if_dead(InodeNumber inode) {
  const auto found = inodes_.find(inode);
  if (found != inodes_.end() && found->second.lookups == 0 && found->second.attributes.links == 0) inodes_.erase(found);
}

Result<Attributes> FakeDrive::attributes(InodeNumber inode) {
  const std::lock_guard lock(mutex_);
  auto found = find(inode);
  if (!found) return fail(found.error());
  return shown_attributes(**found);
}

void FakeDrive::insert(Inode& directory, std::string_view name, InodeNumber inode) {
  const std::uint64_t cookie = directory.next_cookie++;
  directory.entries.insert_or_assign(std::string(name), std::pair(cookie, inode));
  directory.order.emplace(cookie, name);
  directory.attributes.mtime = directory.attributes.ctime = tick();
}

void FakeDrive::erase(Inode& directory, std::string_view name) {
  const auto entry = directory.entries.find(name);
  directory.order.erase(entry->second.first);
  directory.entries.erase(entry);
  directory.attributes.mtime = directory.attributes.ctime = tick();
}

Result<Attributes> FakeDrive::make(InodeNumber parent, std::string_view name, std::uint32_t mode, const Caller& caller,
                                   std::uint64_t device, std::string_view target) {
  const std::lock_guard lock(mutex_);
  if (closed_) return fail(Code::read_only, "closed");
  if (name.size() > name_bytes_max) return fail(Code::name_too_long, "name too long");
  auto directory = find_directory(parent);
  if (!directory) return fail(directory.error());
  if ((*directory)->entries.contains(name)) return fail(Code::exists, "exists");
  Inode inode;
  inode.attributes.inode = InodeNumber(next_inode_++);
  inode.attributes.mode = S_ISLNK(mode) ? S_IFLNK | 0777 : (mode & ~caller.umask);
  inode.attributes.uid = caller.uid;
  inode.attributes.gid = caller.gid;
  if (((*directory)->attributes.mode & S_ISGID) != 0) {
    inode.attributes.gid = (*directory)->attributes.gid;
    if (S_ISDIR(mode)) inode.attributes.mode |= S_ISGID;
  }
  inode.attributes.device = device;
  inode.attributes.links = S_ISDIR(mode) ? 2 : 1;
  inode.attributes.size = target.size();
  inode.attributes.atime = inode.attributes.mtime = inode.attributes.ctime = tick();
  inode.target = target;
  inode.parent = parent;
  inode.lookups = 1;
  if (S_ISDIR(mode)) ++(*directory)->attributes.links;
  insert(**directory, name, inode.attributes.inode);
  const Attributes made = inode.attributes;
  inodes_.emplace(made.inode, std::move(inode));
  return made;
}

Result<Attributes> FakeDrive::make_node(InodeNumber parent, std::string_view name, std::uint32_t mode, std::uint64_t device,
                                        const Caller& caller) {
  return make(parent, name, mode, caller, device, {});
}

Result<Attributes> FakeDrive::make_directory(InodeNumber parent, std::string_view name, std::uint32_t mode, const Caller& caller) {
  return make(parent, name, (mode & 07777u) | S_IFDIR, caller, 0, {});
}

Result<Attributes> FakeDrive::make_symlink(InodeNumber parent, std::string_view name, std::string_view target, const Caller& caller) {
  return make(parent, name, S_IFLNK | 0777, caller, 0, target);
}

Result<Attributes> FakeDrive::link(InodeNumber inode, InodeNumber parent, std::string_view name) {
  const std::lock_guard lock(mutex_);
  auto found = find(inode);
  if (!found) return fail(found.error());
  auto directory = find_directory(parent);
  if (!directory) return fail(directory.error());
  if ((*directory)->entries.contains(name)) return fail(Code::exists, "exists");
  insert(**directory, name, inode);
  ++(*found)->attributes.links;
  ++(*found)->lookups;
  (*found)->attributes.ctime = tick();
  return shown_attributes(**found);
}

void FakeDrive::unlinked(InodeNumber number) {
  Inode& inode = inodes_.at(number);
  inode.attributes.ctime = tick();
  if (S_ISDIR(inode.attributes.mode)) {
    inode.attributes.links = 0;
    --inodes_.at(inode.parent).attributes.links;
  } else {
    --inode.attributes.links;
  }
  drop_if_dead(number);
}

Result<> FakeDrive::unlink(InodeNumber parent, std::string_view name) {
  const std::lock_guard lock(mutex_);
  auto directory = find_directory(parent);
  if (!directory) return fail(directory.error());
  const auto entry = (*directory)->entries.find(name);
  if (entry == (*directory)->entries.end()) return fail(Code::not_found, "no such name");
  const InodeNumber inode = entry->second.second;
  if (S_ISDIR(inodes_.at(inode).attributes.mode)) return fail(Code::is_directory, "a directory");
  erase(**directory, name);
  unlinked(inode);
  return {};
}

Result<> FakeDrive::remove_directory(InodeNumber parent, std::string_view name) {
  const std::lock_guard lock(mutex_);
  auto directory = find_directory(parent);
  if (!directory) return fail(directory.error());
  const auto entry = (*directory)->entries.find(name);
  if (entry == (*directory)->entries.end()) return fail(Code::not_found, "no such name");
  const InodeNumber inode = entry->second.second;
  if (!S_ISDIR(inodes_.at(inode).attributes.mode)) return fail(Code::not_directory, "not a directory");
  if (!inodes_.at(inode).entries.empty()) return fail(Code::not_empty, "not empty");
  erase(**directory, name);
  unlinked(inode);
  return {};
}

Result<> FakeDrive::rename(InodeNumber from, std::string_view from_name, InodeNumber to, std::string_view to_name, RenameMode mode) {
  const std::lock_guard lock(mutex_);
  auto source = find_directory(from);
  if (!source) return fail(source.error());
  auto target = find_directory(to);
  if (!target) return fail(target.error());
  const auto entry = (*source)->entries.find(from_name);
  if (entry == (*source)->entries.end()) return fail(Code::not_found, "no such name");
  const InodeNumber moved = entry->second.second;
  const auto there = (*target)->entries.find(to_name);
  std::optional<InodeNumber> replaced;
  if (there != (*target)->entries.end()) replaced = there->second.second;
  const auto move_to = [&](InodeNumber inode, InodeNumber old_parent, InodeNumber parent) {
    Inode& one = inodes_.at(inode);
    one.attributes.ctime = tick();
    if (!S_ISDIR(one.attributes.mode)) return;
    --inodes_.at(old_parent).attributes.links;
    ++inodes_.at(parent).attributes.links;
    one.parent = parent;
  };
  if (mode == RenameMode::exchange) {
    if (!replaced) return fail(Code::not_found, "no such name");
    erase(**source, from_name);
    if (from != to || from_name != to_name) erase(**target, to_name);
    insert(**source, from_name, *replaced);
    insert(**target, to_name, moved);
    move_to(moved, from, to);
    move_to(*replaced, to, from);
    return {};
  }
  if (replaced && mode == RenameMode::no_replace) return fail(Code::exists, "exists");
  if (replaced == moved) return {};
  if (replaced) {
    const bool was_directory = S_ISDIR(inodes_.at(*replaced).attributes.mode);
    const bool is_directory = S_ISDIR(inodes_.at(moved).attributes.mode);
    if (was_directory && !is_directory) return fail(Code::is_directory, "a directory");
    if (!was_directory && is_directory) return fail(Code::not_directory, "not a directory");
    if (!inodes_.at(*replaced).entries.empty()) return fail(Code::not_empty, "not empty");
    erase(**target, to_name);
    unlinked(*replaced);
  }
  erase(**source, from_name);
  insert(**target, to_name, moved);
  move_to(moved, from, to);
  return {};
}

Result<std::string> FakeDrive::read_symlink(InodeNumber inode) {
  const std::lock_guard lock(mutex_);
  auto found = find(inode);
  if (!found) return fail(found.error());
  if (!S_ISLNK((*found)->attributes.mode)) return fail(Code::invalid, "not a symbolic link");
  return (*found)->target;
}

Result<> FakeDrive::list_directory(InodeNumber number, std::uint64_t cookie, bool with_attributes,
                                   const std::function<bool(const DirectoryEntry&)>& visit) {
  const std::lock_guard lock(mutex_);
  auto directory = find_directory(number);
  if (!directory) return fail(directory.error());
  if (cookie < 1 && !visit({".", number, S_IFDIR, 1, nullptr})) return {};
  if (cookie < 2 && !visit({"..", (*directory)->parent, S_IFDIR, 2, nullptr})) return {};
  for (auto at = (*directory)->order.upper_bound(cookie); at != (*directory)->order.end(); ++at) {
    Inode& inode = inodes_.at((*directory)->entries.find(at->second)->second.second);
    const Attributes attributes = shown_attributes(inode);
    if (!visit({at->second, attributes.inode, attributes.mode, at->first, with_attributes ? &attributes : nullptr})) break;
    if (with_attributes) ++inode.lookups;
  }
  return {};
}

void FakeDrive::zero(Inode& inode, std::uint64_t from, std::uint64_t to) {
  for (auto page = inode.pages.lower_bound(from / page_bytes); page != inode.pages.end();) {
    const std::uint64_t start = page->first * page_bytes;
    if (start >= to) break;
    const std::uint64_t first = std::max(start, from);
    const std::uint64_t last = std::min(start + page_bytes, to);
    if (last - first == page_bytes) {
      page = inode.pages.erase(page);
      continue;
    }
    std::fill(page->second.begin() + static_cast<std::ptrdiff_t>(first - start),
              page->second.begin() + static_cast<std::ptrdiff_t>(last - start), std::uint8_t{0});
    ++page;
  }
}

Result<Attributes> FakeDrive::change_attributes(InodeNumber number, const AttributeChange& change) {
  const std::lock_guard lock(mutex_);
  auto found = find(number);
  if (!found) return fail(found.error());
  Inode& inode = **found;
  if (change.size && *change.size > file_bytes_max) return fail(Code::too_large, "too large");
  if (change.mode) inode.attributes.mode = (inode.attributes.mode & S_IFMT) | *change.mode;
  if (change.uid) inode.attributes.uid = *change.uid;
  if (change.gid) inode.attributes.gid = *change.gid;
  if (change.size) {
    if (*change.size < inode.attributes.size) zero(inode, *change.size, ~std::uint64_t{0});
    inode.attributes.size = *change.size;
    inode.attributes.mtime = tick();
  }
  if (change.atime) inode.attributes.atime = *change.atime;
  if (change.mtime) inode.attributes.mtime = *change.mtime;
  inode.attributes.ctime = change.ctime ? *change.ctime : tick();
  return shown_attributes(inode);
}

Result<Bytes> FakeDrive::get_xattr(InodeNumber inode, std::string_view name) {
  const std::lock_guard lock(mutex_);
  auto found = find(inode);
  if (!found) return fail(found.error());
  const auto value = (*found)->xattrs.find(name);
  if (value == (*found)->xattrs.end()) return fail(Code::no_attribute, "no such attribute");
  return value->second;
}

Result<> FakeDrive::set_xattr(InodeNumber inode, std::string_view name, ByteView value, SetXattrMode mode) {
  const std::lock_guard lock(mutex_);
  auto found = find(inode);
  if (!found) return fail(found.error());
  const bool there = (*found)->xattrs.contains(name);
  if (there && mode == SetXattrMode::create) return fail(Code::exists, "exists");
  if (!there && mode == SetXattrMode::replace) return fail(Code::no_attribute, "no such attribute");
  (*found)->xattrs.insert_or_assign(std::string(name), Bytes(value.begin(), value.end()));
  (*found)->attributes.ctime = tick();
  return {};
}

Result<std::vector<std::string>> FakeDrive::list_xattrs(InodeNumber inode) {
  const std::lock_guard lock(mutex_);
  auto found = find(inode);
  if (!found) return fail(found.error());
  std::vector<std::string> names;
  for (const auto& [name, value] : (*found)->xattrs) names.push_back(name);
  return names;
}

Result<> FakeDrive::remove_xattr(InodeNumber inode, std::string_view name) {
  const std::lock_guard lock(mutex_);
  auto found = find(inode);
  if (!found) return fail(found.error());
  const auto value = (*found)->xattrs.find(name);
  if (value == (*found)->xattrs.end()) return fail(Code::no_attribute, "no such attribute");
  (*found)->xattrs.erase(value);
  return {};
}

Result<std::size_t> FakeDrive::read(InodeNumber number, std::uint64_t offset, MutableBytes out, bool update_atime, std::stop_token stop) {
  if (before_read) {
    if (auto allowed = before_read(number, stop); !allowed) return fail(allowed.error());
  }
  const std::lock_guard lock(mutex_);
  auto found = find(number);
  if (!found) return fail(found.error());
  Inode& inode = **found;
  if (update_atime) inode.attributes.atime = tick();
  if (offset >= inode.attributes.size) return std::size_t{0};
  const std::size_t count = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), inode.attributes.size - offset));
  std::memset(out.data(), 0, count);
  for (std::uint64_t at = offset; at < offset + count;) {
    const std::uint64_t within = at % page_bytes;
    const std::uint64_t step = std::min(page_bytes - within, offset + count - at);
    const auto page = inode.pages.find(at / page_bytes);
    if (page != inode.pages.end()) std::memcpy(out.data() + (at - offset), page->second.data() + within, step);
    at += step;
  }
  return count;
}

Result<> FakeDrive::write(InodeNumber number, std::uint64_t offset, ByteView in, std::stop_token) {
  const std::lock_guard lock(mutex_);
  if (closed_) return fail(Code::read_only, "closed");
  auto found = find(number);
  if (!found) return fail(found.error());
  Inode& inode = **found;
  for (std::uint64_t at = offset; at < offset + in.size();) {
    const std::uint64_t within = at % page_bytes;
    const std::uint64_t step = std::min(page_bytes - within, offset + in.size() - at);
    Bytes& page = inode.pages[at / page_bytes];
    page.resize(page_bytes);
    std::memcpy(page.data() + within, in.data() + (at - offset), step);
    at += step;
  }
  inode.attributes.size = std::max(inode.attributes.size, offset + in.size());
  inode.attributes.mtime = inode.attributes.ctime = tick();
  return {};
}

Result<> FakeDrive::fallocate(InodeNumber number, FallocateMode mode, std::uint64_t offset, std::uint64_t length) {
  const std::lock_guard lock(mutex_);
  auto found = find(number);
  if (!found) return fail(found.error());
  Inode& inode = **found;
  const bool zeroes = mode != FallocateMode::allocate && mode != FallocateMode::allocate_keep_size;
  if (zeroes) zero(inode, offset, offset + length);
  if (mode == FallocateMode::allocate || mode == FallocateMode::zero_range)
    inode.attributes.size = std::max(inode.attributes.size, offset + length);
  return {};
}

Result<std::uint64_t> FakeDrive::seek(InodeNumber number, std::uint64_t offset, SeekWhat what) {
  const std::lock_guard lock(mutex_);
  auto found = find(number);
  if (!found) return fail(found.error());
  const Inode& inode = **found;
  if (offset >= inode.attributes.size) return fail(Code::not_found, "beyond the end");
  if (what == SeekWhat::data) {
    const auto page = inode.pages.lower_bound(offset / page_bytes);
    if (page == inode.pages.end()) return fail(Code::not_found, "no data");
    return std::max(offset, page->first * page_bytes);
  }
  std::uint64_t page = offset / page_bytes;
  if (!inode.pages.contains(page)) return offset;
  while (inode.pages.contains(page)) ++page;
  return std::min(page * page_bytes, inode.attributes.size);
}

Result<std::uint64_t> FakeDrive::copy_range(InodeNumber from, std::uint64_t from_offset, InodeNumber to, std::uint64_t to_offset, std::uint64_t length) {
  Bytes bytes(static_cast<std::size_t>(std::min<std::uint64_t>(length, 1u << 20)));
  auto count = read(from, from_offset, bytes, true, {});
  if (!count) return fail(count.error());
  bytes.resize(*count);
  if (auto written = write(to, to_offset, bytes, {}); !written) return fail(written.error());
  return bytes.size();
}

Result<> FakeDrive::commit() {
  const std::lock_guard lock(mutex_);
  ++commits_;
  return {};
}

Result<> FakeDrive::sync(SyncLevel level, std::optional<MonotonicTime>, const std::function<void(const SyncProgress&)>& progress,
                         std::stop_token stop) {
  if (on_sync) return on_sync(level, progress, stop);
  return {};
}

SpaceUsage FakeDrive::space() { return {std::uint64_t{1} << 40, std::uint64_t{1} << 39, 1}; }
DriveStatus FakeDrive::status() { return shown; }
Result<std::uint64_t> FakeDrive::drop_cache() { return std::uint64_t{0}; }
Result<> FakeDrive::collect_garbage(bool, std::stop_token) { return {}; }
Result<FileReport> FakeDrive::inspect(InodeNumber inode, bool) {
  auto shown_inode = attributes(inode);
  if (!shown_inode) return fail(shown_inode.error());
  FileReport report;
  report.attributes = *shown_inode;
  return report;
}
Result<Bytes> FakeDrive::digest() { return Bytes{}; }

}  // namespace atl
