#include "engine/base/os_error.h"

#include <cerrno>
#include <system_error>

namespace atl {

namespace {

struct Meaning {
  Code code;
  const char* hint;
};

Meaning meaning_of(int error_number) {
  switch (error_number) {
    case ENOENT: return {Code::not_found, ""};
    case EEXIST: return {Code::exists, ""};
    case ENOTDIR: return {Code::not_directory, ""};
    case EISDIR: return {Code::is_directory, ""};
    case ENOTEMPTY: return {Code::not_empty, ""};
    case ENAMETOOLONG: return {Code::name_too_long, ""};
    case EFBIG: return {Code::too_large, ""};
    case EMLINK: return {Code::too_many_links, ""};
    case EINVAL: return {Code::invalid, ""};
    case EACCES:
    case EPERM: return {Code::access_denied, "check the owner and the mode of the path"};
    case EROFS: return {Code::read_only, "mount that file system writable"};
    case ENOSPC: return {Code::no_space, "free space on that disk"};
    case EDQUOT: return {Code::no_space, "free space or raise the quota on that disk"};
    case EMFILE:
    case ENFILE: return {Code::failed, "raise the limit of open files"};
    case EOPNOTSUPP:
    case ENOSYS: return {Code::unsupported, ""};
    case EBUSY:
    case ETXTBSY: return {Code::busy, ""};
    case ETIMEDOUT: return {Code::timed_out, ""};
    case ENOMEM: return {Code::failed, "free some memory"};
    default: return {Code::io, ""};
  }
}

}  // namespace

Error os_error(std::string_view action, std::string_view path, int error_number) {
  const Meaning meaning = meaning_of(error_number);
  std::string what = "could not ";
  what.append(action).append(" ").append(path).append(": ");
  what += std::generic_category().message(error_number);
  return Error(meaning.code, std::move(what), meaning.hint, error_number);
}

tl::unexpected<Error> fail_errno(std::string_view action, std::string_view path) {
  return fail(os_error(action, path, errno));
}

}  // namespace atl
