// The answer to one kernel request: given exactly once. One that is dropped answers EIO, so that no caller ever hangs
// on a request that the daemon forgot. Moves between threads with its request; used by one thread at a time.
#pragma once

#include <cerrno>
#include <utility>

#include "cache/drive/types.h"
#include "fs/fuse/errno.h"
#include "fs/fuse/fuse_api.h"

namespace atl {

/// Inode attributes in the kernel's form.
struct stat to_stat(const Attributes& attributes);

/// How long the kernel may keep names and attributes: all changes go through this mount, so in effect for ever.
inline constexpr double keep_seconds = 86400;

/// A directory entry's reply for an inode that was counted by the drive.
fuse_entry_param to_entry(const Attributes& attributes);

class Reply {
 public:
  explicit Reply(fuse_req_t request) : request_(request) {}
  Reply(Reply&& other) noexcept : request_(std::exchange(other.request_, nullptr)) {}
  Reply& operator=(Reply&&) = delete;
  ~Reply() {
    if (request_ != nullptr) fuse_reply_err(request_, EIO);
  }

  fuse_req_t request() const { return request_; }
  bool given() const { return request_ == nullptr; }

  void ok() { fuse_reply_err(take(), 0); }
  void error(int number) { fuse_reply_err(take(), number); }
  void error(const Error& error) { fuse_reply_err(take(), to_errno(error.code)); }
  void none() { fuse_reply_none(take()); }
  void result(const Result<>& result) { result ? ok() : error(result.error()); }

  /// False if the kernel no longer wanted it: a lookup that was counted must be given back.
  [[nodiscard]] bool entry(const fuse_entry_param& entry) { return fuse_reply_entry(take(), &entry) == 0; }
  [[nodiscard]] bool buffer(const void* data, std::size_t size) {
    return fuse_reply_buf(take(), static_cast<const char*>(data), size) == 0;
  }
  void attributes(const Attributes& attributes) {
    const struct stat stat = to_stat(attributes);
    fuse_reply_attr(take(), &stat, keep_seconds);
  }
  void link_target(const char* target) { fuse_reply_readlink(take(), target); }
  void count(std::size_t count) { fuse_reply_write(take(), count); }
  void xattr_size(std::size_t size) { fuse_reply_xattr(take(), size); }
  void offset(std::uint64_t offset) { fuse_reply_lseek(take(), static_cast<off_t>(offset)); }
  void statfs(const struct statvfs& statfs) { fuse_reply_statfs(take(), &statfs); }

 private:
  fuse_req_t take() { return std::exchange(request_, nullptr); }

  fuse_req_t request_;
};

}  // namespace atl
