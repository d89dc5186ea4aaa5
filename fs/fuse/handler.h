// What every handler needs: its context, and a boundary that no exception crosses into C.
#pragma once

#include <sys/stat.h>

#include <new>

#include "fs/fuse/operations.h"
#include "fs/fuse/reply.h"

namespace atl {

inline Served& served(fuse_req_t request) { return *static_cast<Served*>(fuse_req_userdata(request)); }

/// Runs `body(Served&, Reply&)`. A reply it leaves ungiven answers EIO; exhausted memory answers ENOMEM.
template <typename Body>
void handle(fuse_req_t request, Body&& body) noexcept {
  Reply reply(request);
  try {
    body(served(request), reply);
  } catch (const std::bad_alloc&) {
    if (!reply.given()) reply.error(ENOMEM);
  } catch (...) {
    // The destructor of the reply answers EIO.
  }
}

/// The same boundary for a reply that is given later, on another thread.
template <typename Body>
void handle_later(Reply& reply, Body&& body) noexcept {
  try {
    body();
  } catch (const std::bad_alloc&) {
    if (!reply.given()) reply.error(ENOMEM);
  } catch (...) {
    if (!reply.given()) reply.error(EIO);
  }
}

inline Caller caller_of(fuse_req_t request) {
  const fuse_ctx* context = fuse_req_ctx(request);
  return Caller{context->uid, context->gid, context->umask};
}

/// Answers with a counted inode, and gives the count back if the kernel no longer wants it.
inline void reply_entry(Served& served, Reply& reply, const Result<Attributes>& made) {
  if (!made) return reply.error(made.error());
  served.blocks_outdated.erase(made->inode);
  if (!reply.entry(to_entry(*made))) served.drive.forget(made->inode, 1);
}

/// The mode without the bits that a stranger's change takes away; set-group-id without group execution is none.
constexpr std::uint32_t without_set_id(std::uint32_t mode) {
  return mode & ~((mode & S_IXGRP) != 0 ? S_ISUID | S_ISGID : S_ISUID);
}

// Handlers, by the file that holds them.
namespace handlers {

// operations.cpp
void init(void* user, fuse_conn_info* connection);
void open(fuse_req_t request, fuse_ino_t inode, fuse_file_info* file);

// metadata.cpp
void lookup(fuse_req_t request, fuse_ino_t parent, const char* name);
void forget(fuse_req_t request, fuse_ino_t inode, std::uint64_t count);
void forget_multi(fuse_req_t request, std::size_t count, fuse_forget_data* forgets);
void getattr(fuse_req_t request, fuse_ino_t inode, fuse_file_info* file);
void setattr(fuse_req_t request, fuse_ino_t inode, struct stat* stat, int set, fuse_file_info* file);
void readlink(fuse_req_t request, fuse_ino_t inode);
void mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t device);
void mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode);
void unlink(fuse_req_t request, fuse_ino_t parent, const char* name);
void rmdir(fuse_req_t request, fuse_ino_t parent, const char* name);
void symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name);
void rename(fuse_req_t request, fuse_ino_t from, const char* from_name, fuse_ino_t to, const char* to_name, unsigned flags);
void link(fuse_req_t request, fuse_ino_t inode, fuse_ino_t parent, const char* name);
void statfs(fuse_req_t request, fuse_ino_t inode);

// directories.cpp
void readdir(fuse_req_t request, fuse_ino_t inode, std::size_t size, off_t cookie, fuse_file_info* file);
void readdirplus(fuse_req_t request, fuse_ino_t inode, std::size_t size, off_t cookie, fuse_file_info* file);

// xattrs.cpp
void setxattr(fuse_req_t request, fuse_ino_t inode, const char* name, const char* value, std::size_t size, int flags);
void getxattr(fuse_req_t request, fuse_ino_t inode, const char* name, std::size_t size);
void listxattr(fuse_req_t request, fuse_ino_t inode, std::size_t size);
void removexattr(fuse_req_t request, fuse_ino_t inode, const char* name);

// content.cpp
void read(fuse_req_t request, fuse_ino_t inode, std::size_t size, off_t offset, fuse_file_info* file);
void write(fuse_req_t request, fuse_ino_t inode, const char* data, std::size_t size, off_t offset, fuse_file_info* file);
void fsync(fuse_req_t request, fuse_ino_t inode, int data_only, fuse_file_info* file);
void fallocate(fuse_req_t request, fuse_ino_t inode, int mode, off_t offset, off_t length, fuse_file_info* file);
void lseek(fuse_req_t request, fuse_ino_t inode, off_t offset, int whence, fuse_file_info* file);
void copy_file_range(fuse_req_t request, fuse_ino_t from, off_t from_offset, fuse_file_info* from_file, fuse_ino_t to,
                     off_t to_offset, fuse_file_info* to_file, std::size_t length, int flags);

}  // namespace handlers

}  // namespace atl
