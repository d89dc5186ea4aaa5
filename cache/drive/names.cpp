// Operations on names and inodes.
#include <sys/stat.h>

#include <algorithm>

#include "cache/drive/acl.h"
#include "cache/drive/drive_impl.h"

namespace atl {
namespace {

bool is_directory(const InodeRow& row) { return (row.mode & S_IFMT) == S_IFDIR; }

constexpr std::uint32_t links_max = 0x7fff'ffff;
constexpr std::size_t list_batch = 256;
/// Files with more than this are purged in steps, so that no operation waits long for the state lock.
constexpr std::uint64_t purge_step_bytes = 512ull << 20;

Result<> check_name(std::string_view name) {
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string_view::npos ||
      name.find('\0') != std::string_view::npos) {
    return fail(Code::invalid, "not a name");
  }
  if (name.size() > name_bytes_max) return fail(Code::name_too_long);
  return {};
}

}  // namespace

Attributes DriveImpl::attributes_of(InodeNumber inode, const InodeRow& row) const {
  Attributes a;
  a.inode = inode;
  a.mode = row.mode;
  a.uid = row.uid;
  a.gid = row.gid;
  a.links = row.links;
  a.device = row.device;
  a.size = row.size;
  a.allocated_bytes = row.mapped_bytes;
  a.atime = row.atime;
  a.mtime = row.mtime;
  a.ctime = row.ctime;
  if (core_->dirty.has(inode)) {
    a.size = std::max(a.size, core_->dirty.end(inode));
    a.allocated_bytes += core_->dirty.bytes_of(inode);
    if (const auto time = core_->dirty.written_at(inode)) a.mtime = a.ctime = *time;
  }
  return a;
}

Result<std::shared_ptr<const InodeRow>> DriveImpl::inode_row(InodeNumber inode) {
  auto row = core_->tables->inode(inode);
  if (!row) return fail(Code::not_found);
  return row;
}

Result<std::shared_ptr<const InodeRow>> DriveImpl::directory_row(InodeNumber inode) {
  auto row = inode_row(inode);
  if (row && !is_directory(**row)) return fail(Code::not_directory);
  return row;
}

Result<std::shared_ptr<const InodeRow>> DriveImpl::file_row(InodeNumber inode) {
  auto row = inode_row(inode);
  if (row && is_directory(**row)) return fail(Code::is_directory);
  if (row && ((*row)->mode & S_IFMT) != S_IFREG) return fail(Code::invalid, "not a regular file");
  return row;
}

void DriveImpl::settle_times(InodeNumber inode) {
  const auto time = core_->dirty.take_written_at(inode);
  if (!time) return;
  AttributesSet times;
  times.inode = inode;
  times.mask = AttributesSet::mtime_bit | AttributesSet::ctime_bit;
  times.mtime = times.ctime = *time;
  core_->log(times);
}

Result<Attributes> DriveImpl::lookup(InodeNumber parent, std::string_view name) {
  return locked([&]() -> Result<Attributes> {
    if (auto directory = directory_row(parent); !directory) return fail(directory.error());
    if (name.size() > name_bytes_max) return fail(Code::name_too_long);
    const auto entry = core_->tables->entry({parent, std::string(name)});
    if (!entry) return fail(Code::not_found);
    auto row = inode_row(entry->inode);
    if (!row) return fail(row.error());
    ++core_->lookups[entry->inode];
    return attributes_of(entry->inode, **row);
  });
}

void DriveImpl::forget(InodeNumber inode, std::uint64_t count) {
  (void)locked([&]() -> Result<> {
    const auto it = core_->lookups.find(inode);
    if (it == core_->lookups.end()) return {};
    if (it->second > count) {
      it->second -= count;
      return {};
    }
    core_->lookups.erase(it);
    purge_if_unused(inode);
    return {};
  });
}

void DriveImpl::purge_if_unused(InodeNumber inode) {
  if (!core_->tables->orphans().contains(inode) || core_->lookups.contains(inode) || core_->refusal()) return;
  core_->dirty.drop(inode);
  if (core_->tables->inode(inode)->mapped_bytes <= purge_step_bytes) {
    core_->log(Purged{inode});
    return;
  }
  to_purge_.insert(inode);
  if (!std::exchange(purge_scheduled_, true)) tasks_.post([this] { purge_in_steps(); });
}

void DriveImpl::purge_in_steps() {
  for (bool more = true; more && !tasks_.closed();) {
    (void)locked([&]() -> Result<> {
      more = !to_purge_.empty() && !core_->refusal();
      if (!more) {
        purge_scheduled_ = false;
        return {};
      }
      const InodeNumber inode = *to_purge_.begin();
      const auto row = core_->tables->inode(inode);
      if (!row || row->links != 0 || core_->lookups.contains(inode)) {
        to_purge_.erase(inode);
      } else if (row->mapped_bytes <= purge_step_bytes) {
        core_->log(Purged{inode});
        to_purge_.erase(inode);
      } else {
        // Cut the end off: the size says where to go on after a crash.
        AttributesSet shorter;
        shorter.inode = inode;
        shorter.mask = AttributesSet::size_bit;
        shorter.size = row->size > purge_step_bytes ? row->size - purge_step_bytes : 0;
        core_->log(shorter);
      }
      return {};
    });
  }
}

void DriveImpl::sweep_orphans() {
  (void)locked([&]() -> Result<> {
    const std::set<InodeNumber> orphans = core_->tables->orphans();
    for (InodeNumber inode : orphans)
      if (!to_purge_.contains(inode)) purge_if_unused(inode);
    return {};
  });
}

Result<Attributes> DriveImpl::attributes(InodeNumber inode) {
  return locked([&]() -> Result<Attributes> {
    auto row = inode_row(inode);
    if (!row) return fail(row.error());
    return attributes_of(inode, **row);
  });
}

Result<> DriveImpl::check_new_name(InodeNumber parent, std::string_view name) {
  if (auto ok = check_name(name); !ok) return ok;
  auto directory = directory_row(parent);
  if (!directory) return fail(directory.error());
  // A directory that was removed while somebody works in it takes no names.
  if ((*directory)->links == 0) return fail(Code::not_found);
  if (core_->tables->entry({parent, std::string(name)})) return fail(Code::exists);
  return {};
}

Result<Attributes> DriveImpl::make_inode(InodeNumber parent, std::string_view name, std::uint32_t mode, std::uint64_t device,
                                         std::string_view target, const Caller& caller) {
  if (auto ok = check_new_name(parent, name); !ok) return fail(ok.error());
  const auto directory = core_->tables->inode(parent);
  const bool makes_directory = (mode & S_IFMT) == S_IFDIR;
  if (makes_directory && directory->links >= links_max) return fail(Code::too_many_links);
  InodeMade made;
  made.inode = InodeNumber(core_->tables->volume().next_inode);
  made.parent = parent;
  made.name = name;
  made.cookie = core_->tables->volume().next_cookie;
  made.uid = caller.uid;
  made.gid = caller.gid;
  made.device = device;
  made.target = target;
  made.time = core_->seams.clock.wall_now();
  made.mode = mode;
  if ((mode & S_IFMT) != S_IFLNK) {
    std::optional<Acl> default_acl;
    if (directory->has_xattrs) {
      const auto xattrs = core_->tables->xattrs(parent);
      if (const auto it = xattrs->values.find(std::string(acl_default_name)); it != xattrs->values.end()) {
        if (auto parsed = parse_acl(it->second); parsed && !parsed->entries.empty()) default_acl = std::move(*parsed);
      }
    }
    if (default_acl) {
      const InheritedAcl inherited = inherit_acl(*default_acl, mode, makes_directory);
      made.mode = inherited.mode;
      if (inherited.access) made.xattrs.emplace_back(acl_access_name, serialize_acl(*inherited.access));
      if (inherited.default_acl) made.xattrs.emplace_back(acl_default_name, serialize_acl(*inherited.default_acl));
    } else {
      made.mode &= ~caller.umask;
    }
  }
  if (directory->mode & S_ISGID) {
    made.gid = directory->gid;
    if (makes_directory) made.mode |= S_ISGID;
  }
  core_->log(made);
  ++core_->lookups[made.inode];
  return attributes_of(made.inode, *core_->tables->inode(made.inode));
}

Result<Attributes> DriveImpl::make_node(InodeNumber parent, std::string_view name, std::uint32_t mode, std::uint64_t device,
                                        const Caller& caller) {
  return changing([&] { return make_inode(parent, name, mode, device, {}, caller); });
}

Result<Attributes> DriveImpl::make_directory(InodeNumber parent, std::string_view name, std::uint32_t mode, const Caller& caller) {
  return changing([&] { return make_inode(parent, name, (mode & 07777) | S_IFDIR, 0, {}, caller); });
}

Result<Attributes> DriveImpl::make_symlink(InodeNumber parent, std::string_view name, std::string_view target, const Caller& caller) {
  return changing([&]() -> Result<Attributes> {
    if (target.empty()) return fail(Code::not_found);
    if (target.size() > symlink_bytes_max) return fail(Code::name_too_long);
    return make_inode(parent, name, S_IFLNK | 0777, 0, target, caller);
  });
}

Result<Attributes> DriveImpl::link(InodeNumber inode, InodeNumber parent, std::string_view name) {
  return changing([&]() -> Result<Attributes> {
    auto row = inode_row(inode);
    if (!row) return fail(row.error());
    if (is_directory(**row)) return fail(Code::not_permitted);
    if ((*row)->links == 0) return fail(Code::not_found);
    if ((*row)->links >= links_max) return fail(Code::too_many_links);
    if (auto ok = check_new_name(parent, name); !ok) return fail(ok.error());
    settle_times(inode);
    core_->log(Linked{inode, parent, std::string(name), core_->tables->volume().next_cookie, core_->seams.clock.wall_now()});
    ++core_->lookups[inode];
    return attributes_of(inode, *core_->tables->inode(inode));
  });
}

Result<> DriveImpl::unlink(InodeNumber parent, std::string_view name) {
  return changing([&]() -> Result<> {
    if (auto directory = directory_row(parent); !directory) return fail(directory.error());
    const auto entry = core_->tables->entry({parent, std::string(name)});
    if (!entry) return fail(Code::not_found);
    if (entry->type == S_IFDIR) return fail(Code::is_directory);
    settle_times(entry->inode);
    core_->log(Unlinked{parent, std::string(name), entry->inode, core_->seams.clock.wall_now()});
    purge_if_unused(entry->inode);
    return {};
  });
}

Result<> DriveImpl::remove_directory(InodeNumber parent, std::string_view name) {
  return changing([&]() -> Result<> {
    if (name == ".") return fail(Code::invalid);
    if (name == "..") return fail(Code::not_empty);
    if (auto directory = directory_row(parent); !directory) return fail(directory.error());
    const auto entry = core_->tables->entry({parent, std::string(name)});
    if (!entry) return fail(Code::not_found);
    if (entry->type != S_IFDIR) return fail(Code::not_directory);
    auto row = inode_row(entry->inode);
    if (!row) return fail(row.error());
    if ((*row)->entries != 0) return fail(Code::not_empty);
    core_->log(Unlinked{parent, std::string(name), entry->inode, core_->seams.clock.wall_now()});
    purge_if_unused(entry->inode);
    return {};
  });
}

bool DriveImpl::is_below(InodeNumber directory, InodeNumber ancestor) {
  for (InodeNumber at = directory; at != root_inode;) {
    if (at == ancestor) return true;
    const auto row = core_->tables->inode(at);
    if (!row || row->parent == at) return false;
    at = row->parent;
  }
  return ancestor == root_inode;
}

Result<> DriveImpl::rename(InodeNumber from, std::string_view from_name, InodeNumber to, std::string_view to_name, RenameMode mode) {
  return changing([&]() -> Result<> {
    if (auto ok = check_name(from_name); !ok) return ok;
    if (auto ok = check_name(to_name); !ok) return ok;
    if (auto directory = directory_row(from); !directory) return fail(directory.error());
    auto to_directory = directory_row(to);
    if (!to_directory) return fail(to_directory.error());
    if ((*to_directory)->links == 0) return fail(Code::not_found);
    const auto source = core_->tables->entry({from, std::string(from_name)});
    if (!source) return fail(Code::not_found);
    const auto target = core_->tables->entry({to, std::string(to_name)});
    if (mode == RenameMode::no_replace && target) return fail(Code::exists);
    if (mode == RenameMode::exchange && !target) return fail(Code::not_found);
    if (source->type == S_IFDIR && is_below(to, source->inode)) return fail(Code::invalid, "a directory cannot move below itself");
    if (mode == RenameMode::exchange && target->type == S_IFDIR && is_below(from, target->inode)) {
      return fail(Code::invalid, "a directory cannot move below itself");
    }
    if (target && target->inode == source->inode) return {};  // two names of one file: POSIX leaves both
    if (target && mode == RenameMode::replace) {
      if (source->type == S_IFDIR && target->type != S_IFDIR) return fail(Code::not_directory);
      if (source->type != S_IFDIR && target->type == S_IFDIR) return fail(Code::is_directory);
      if (target->type == S_IFDIR && core_->tables->inode(target->inode)->entries != 0) return fail(Code::not_empty);
    }
    settle_times(source->inode);
    if (target) settle_times(target->inode);
    Renamed renamed;
    renamed.from = from;
    renamed.from_name = from_name;
    renamed.to = to;
    renamed.to_name = to_name;
    renamed.inode = source->inode;
    renamed.replaced = target ? target->inode : InodeNumber{};
    renamed.cookie = core_->tables->volume().next_cookie;
    renamed.exchange = mode == RenameMode::exchange;
    renamed.time = core_->seams.clock.wall_now();
    core_->log(renamed);
    if (target && mode == RenameMode::replace) purge_if_unused(target->inode);
    return {};
  });
}

Result<std::string> DriveImpl::read_symlink(InodeNumber inode) {
  return locked([&]() -> Result<std::string> {
    auto row = inode_row(inode);
    if (!row) return fail(row.error());
    if (((*row)->mode & S_IFMT) != S_IFLNK) return fail(Code::invalid, "not a symbolic link");
    return (*row)->target;
  });
}

Result<> DriveImpl::list_directory(InodeNumber directory, std::uint64_t cookie, bool with_attributes,
                                   const std::function<bool(const DirectoryEntry&)>& visit) {
  return locked([&]() -> Result<> {
    auto found = directory_row(directory);
    if (!found) return fail(found.error());
    const InodeRow row = **found;
    if (cookie == 0) touch_atime(directory, row);
    if (cookie < 1 && !visit({".", directory, S_IFDIR, 1, nullptr})) return {};
    if (cookie < 2 && !visit({"..", row.parent, S_IFDIR, 2, nullptr})) return {};
    std::uint64_t after = std::max<std::uint64_t>(cookie, 2);
    // A batch may come out short although more follows: what the index lists may have been renamed since.
    for (std::size_t limit = 32;; limit = list_batch) {
      const std::vector<ListedEntry> entries = core_->tables->list(directory, after, limit);
      if (entries.empty()) return {};
      for (const ListedEntry& entry : entries) {
        DirectoryEntry shown{entry.name, entry.row.inode, entry.row.type, entry.row.cookie, nullptr};
        Attributes attributes;
        if (with_attributes) {
          auto inode = inode_row(entry.row.inode);
          if (!inode) return fail(inode.error());
          attributes = attributes_of(entry.row.inode, **inode);
          shown.attributes = &attributes;
        }
        if (!visit(shown)) return {};
        if (with_attributes) ++core_->lookups[entry.row.inode];
        after = entry.row.cookie;
      }
    }
  });
}

}  // namespace atl
