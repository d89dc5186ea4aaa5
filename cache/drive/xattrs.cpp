// Extended attributes, and the POSIX ACLs among them.
#include <sys/stat.h>

#include "cache/drive/acl.h"
#include "cache/drive/drive_impl.h"

namespace atl {
namespace {

constexpr std::size_t all_values_max = 1u << 20;  // of one inode, names included

bool is_acl(std::string_view name) { return name == acl_access_name || name == acl_default_name; }

}  // namespace

Result<> DriveImpl::keep_acl_with_mode(InodeNumber inode, const InodeRow& row, std::uint32_t mode) {
  if (!row.has_xattrs) return {};
  const auto xattrs = core_->tables->xattrs(inode);
  const auto it = xattrs->values.find(std::string(acl_access_name));
  if (it == xattrs->values.end()) return {};
  auto acl = parse_acl(it->second);
  if (!acl) return fail(acl.error());
  if (acl->entries.empty()) return {};
  core_->log(XattrSet{inode, std::string(acl_access_name), serialize_acl(acl_with_mode(*acl, mode)), mode, core_->seams.clock.wall_now()});
  return {};
}

Result<Bytes> DriveImpl::get_xattr(InodeNumber inode, std::string_view name) {
  return locked([&]() -> Result<Bytes> {
    auto row = inode_row(inode);
    if (!row) return fail(row.error());
    if (!(*row)->has_xattrs) return fail(Code::no_attribute);
    const auto xattrs = core_->tables->xattrs(inode);
    const auto it = xattrs->values.find(std::string(name));
    if (it == xattrs->values.end()) return fail(Code::no_attribute);
    return it->second;
  });
}

Result<> DriveImpl::set_xattr(InodeNumber inode, std::string_view name, ByteView value, SetXattrMode mode) {
  return changing([&]() -> Result<> {
    if (name.empty()) return fail(Code::invalid);
    if (name.size() > name_bytes_max) return fail(Code::too_small, "the attribute's name is too long");
    if (value.size() > xattr_value_bytes_max) return fail(Code::too_large);
    auto found = inode_row(inode);
    if (!found) return fail(found.error());
    const InodeRow row = **found;
    const auto xattrs = row.has_xattrs ? core_->tables->xattrs(inode) : std::make_shared<const XattrsRow>();
    const bool exists = xattrs->values.contains(std::string(name));
    if (mode == SetXattrMode::create && exists) return fail(Code::exists);
    if (mode == SetXattrMode::replace && !exists) return fail(Code::no_attribute);
    std::size_t sum = name.size() + value.size();
    for (const auto& [other, bytes] : xattrs->values)
      if (other != name) sum += other.size() + bytes.size();
    if (sum > all_values_max) return fail(Code::no_space, "the attributes of one file may take 1 MiB in all");

    settle_times(inode);
    const Timestamp now = core_->seams.clock.wall_now();
    std::uint32_t new_mode = row.mode & 07777;
    if (is_acl(name)) {
      auto acl = parse_acl(value);
      if (!acl) return fail(acl.error());
      if (name == acl_default_name && (row.mode & S_IFMT) != S_IFDIR && !acl->entries.empty()) return fail(Code::access_denied);
      bool store = !acl->entries.empty();
      if (name == acl_access_name && store) {
        const AclMode follows = mode_from_acl(*acl, row.mode);
        new_mode = follows.mode & 07777;
        store = !follows.equivalent;
      }
      if (!store) {
        if (exists) core_->log(XattrRemoved{inode, std::string(name), now});
        if (new_mode != (row.mode & 07777)) {
          AttributesSet change;
          change.inode = inode;
          change.mask = AttributesSet::mode_bit | AttributesSet::ctime_bit;
          change.mode = new_mode;
          change.ctime = now;
          core_->log(change);
        }
        return {};
      }
    }
    core_->log(XattrSet{inode, std::string(name), Bytes(value.begin(), value.end()), new_mode, now});
    return {};
  });
}

Result<std::vector<std::string>> DriveImpl::list_xattrs(InodeNumber inode) {
  return locked([&]() -> Result<std::vector<std::string>> {
    auto row = inode_row(inode);
    if (!row) return fail(row.error());
    std::vector<std::string> names;
    if ((*row)->has_xattrs)
      for (const auto& [name, value] : core_->tables->xattrs(inode)->values) names.push_back(name);
    return names;
  });
}

Result<> DriveImpl::remove_xattr(InodeNumber inode, std::string_view name) {
  return changing([&]() -> Result<> {
    auto row = inode_row(inode);
    if (!row) return fail(row.error());
    if (!(*row)->has_xattrs || !core_->tables->xattrs(inode)->values.contains(std::string(name))) return fail(Code::no_attribute);
    settle_times(inode);
    core_->log(XattrRemoved{inode, std::string(name), core_->seams.clock.wall_now()});
    return {};
  });
}

}  // namespace atl
