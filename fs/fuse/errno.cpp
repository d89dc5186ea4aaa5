#include "fs/fuse/errno.h"

#include <cerrno>

namespace atl {

int to_errno(Code code) {
  // No default: the compiler names a code that was added and forgotten here.
  switch (code) {
    case Code::failed: return EIO;
    case Code::io: return EIO;
    case Code::corrupt: return EIO;
    case Code::not_found: return ENOENT;
    case Code::exists: return EEXIST;
    case Code::not_directory: return ENOTDIR;
    case Code::is_directory: return EISDIR;
    case Code::not_empty: return ENOTEMPTY;
    case Code::no_attribute: return ENODATA;
    case Code::too_small: return ERANGE;
    case Code::name_too_long: return ENAMETOOLONG;
    case Code::too_large: return EFBIG;
    case Code::too_many_links: return EMLINK;
    case Code::invalid: return EINVAL;
    case Code::not_permitted: return EPERM;
    case Code::access_denied: return EACCES;
    case Code::read_only: return EROFS;
    case Code::fenced: return EROFS;
    case Code::no_space: return ENOSPC;
    case Code::unsupported: return EOPNOTSUPP;
    case Code::newer_format: return EIO;
    case Code::conflict: return EIO;
    case Code::unavailable: return EIO;
    case Code::too_few_nodes: return EIO;
    case Code::timed_out: return EIO;
    case Code::cancelled: return EINTR;
    case Code::busy: return EBUSY;
    case Code::key: return EIO;
  }
  return EIO;
}

}  // namespace atl
