// Handlers of extended attributes. Who may see or set which is checked by the kernel.
#include <sys/xattr.h>

#include <algorithm>

#include "fs/fuse/handler.h"

namespace atl::handlers {

namespace {

constexpr std::string_view access_acl = "system.posix_acl_access";
constexpr std::string_view default_acl = "system.posix_acl_default";

/// 0, or why a name cannot be an attribute's. In the system namespace only ACLs mean something here.
int refusal_of(std::string_view name) {
  if (name == access_acl || name == default_acl) return 0;
  for (const std::string_view space : {"user.", "trusted.", "security."})
    if (name.starts_with(space)) return name.size() > space.size() ? 0 : EINVAL;
  return EOPNOTSUPP;
}

bool is_in_group(fuse_req_t request, gid_t group) {
  if (fuse_req_ctx(request)->gid == group) return true;
  std::vector<gid_t> groups(64);
  int count = fuse_req_getgroups(request, static_cast<int>(groups.size()), groups.data());
  if (count > static_cast<int>(groups.size())) {
    groups.resize(static_cast<std::size_t>(count));
    count = fuse_req_getgroups(request, count, groups.data());
  }
  if (count < 0) return false;
  groups.resize(std::min(groups.size(), static_cast<std::size_t>(count)));
  return std::find(groups.begin(), groups.end(), group) != groups.end();
}

/// An ACL set by somebody outside the file's group takes its set-gid bit, as chmod would (POSIX); the kernel leaves this
/// to the file system.
Result<> clear_setgid(Served& served, fuse_req_t request, InodeNumber inode) {
  if (fuse_req_ctx(request)->uid == 0) return {};
  const Result<Attributes> attributes = served.drive.attributes(inode);
  if (!attributes) return fail(attributes.error());
  if ((attributes->mode & S_ISGID) == 0 || is_in_group(request, attributes->gid)) return {};
  AttributeChange change;
  change.mode = attributes->mode & 07777u & ~static_cast<std::uint32_t>(S_ISGID);
  const Result<Attributes> changed = served.drive.change_attributes(inode, change);
  if (!changed) return fail(changed.error());
  return {};
}

}  // namespace

void setxattr(fuse_req_t request, fuse_ino_t inode, const char* name, const char* value, std::size_t size, int flags) {
  handle(request, [&](Served& served, Reply& reply) {
    if (const int refusal = refusal_of(name); refusal != 0) return reply.error(refusal);
    SetXattrMode mode = SetXattrMode::create_or_replace;
    if ((flags & XATTR_CREATE) != 0) mode = SetXattrMode::create;
    if ((flags & XATTR_REPLACE) != 0) mode = SetXattrMode::replace;
    Result<> done = served.drive.set_xattr(InodeNumber(inode), name, as_bytes({value, size}), mode);
    if (done && name == access_acl) done = clear_setgid(served, request, InodeNumber(inode));
    reply.result(done);
  });
}

void getxattr(fuse_req_t request, fuse_ino_t inode, const char* name, std::size_t size) {
  handle(request, [&](Served& served, Reply& reply) {
    if (const int refusal = refusal_of(name); refusal != 0) return reply.error(refusal);
    const Result<Bytes> value = served.drive.get_xattr(InodeNumber(inode), name);
    if (!value) return reply.error(value.error());
    if (size == 0) return reply.xattr_size(value->size());
    if (value->size() > size) return reply.error(ERANGE);
    static_cast<void>(reply.buffer(value->data(), value->size()));
  });
}

void listxattr(fuse_req_t request, fuse_ino_t inode, std::size_t size) {
  handle(request, [&](Served& served, Reply& reply) {
    const Result<std::vector<std::string>> names = served.drive.list_xattrs(InodeNumber(inode));
    if (!names) return reply.error(names.error());
    std::string list;
    for (const std::string& name : *names) list.append(name).push_back('\0');
    if (size == 0) return reply.xattr_size(list.size());
    if (list.size() > size) return reply.error(ERANGE);
    static_cast<void>(reply.buffer(list.data(), list.size()));
  });
}

void removexattr(fuse_req_t request, fuse_ino_t inode, const char* name) {
  handle(request, [&](Served& served, Reply& reply) {
    if (const int refusal = refusal_of(name); refusal != 0) return reply.error(refusal);
    reply.result(served.drive.remove_xattr(InodeNumber(inode), name));
  });
}

}  // namespace atl::handlers
