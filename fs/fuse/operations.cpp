#include "fs/fuse/operations.h"

#include <algorithm>
#include <cerrno>

#include "fs/fuse/handler.h"

namespace atl {

namespace handlers {

void init(void* user, fuse_conn_info* connection) {
  const auto want = [connection](unsigned capability) { connection->want |= connection->capable & capability; };
  const auto refuse = [connection](unsigned capability) { connection->want &= ~capability; };
  want(FUSE_CAP_ASYNC_READ);
  want(FUSE_CAP_WRITEBACK_CACHE);
  want(FUSE_CAP_READDIRPLUS);
  // Not the automatic kind: it falls back to plain listings, and then `ls -l` looks up each name by itself.
  refuse(FUSE_CAP_READDIRPLUS_AUTO);
  want(FUSE_CAP_POSIX_ACL);
  want(FUSE_CAP_DONT_MASK);
  want(FUSE_CAP_PARALLEL_DIROPS);
  want(FUSE_CAP_CACHE_SYMLINKS);
  want(FUSE_CAP_NO_OPEN_SUPPORT);
  want(FUSE_CAP_NO_OPENDIR_SUPPORT);
  want(FUSE_CAP_EXPLICIT_INVAL_DATA);
  // The kernel truncates before an open. Set-id bits are dropped when it says so (raw_request.h), not at each write
  // that the drive sees: with the write-back cache it sees them late.
  refuse(FUSE_CAP_ATOMIC_O_TRUNC);
  refuse(FUSE_CAP_HANDLE_KILLPRIV);
  refuse(FUSE_CAP_AUTO_INVAL_DATA);
  refuse(FUSE_CAP_POSIX_LOCKS);
  refuse(FUSE_CAP_FLOCK_LOCKS);
  refuse(FUSE_CAP_IOCTL_DIR);
  // With it the kernel waits for a direct read without listening to signals, also fatal ones.
  refuse(FUSE_CAP_ASYNC_DIO);
  connection->max_write = std::min<unsigned>(connection->max_write, request_bytes_max);
  connection->max_readahead = request_bytes_max * 4;
  connection->max_background = 64;
  connection->congestion_threshold = 48;
  connection->time_gran = 1;
  static_cast<Served*>(user)->answered_init.store(true);
}

void open(fuse_req_t request, fuse_ino_t, fuse_file_info*) {
  handle(request, [](Served&, Reply& reply) {
    // libfuse 3.14 would answer a file without keep_cache, at which the kernel drops all its pages at every open.
    reply.error(ENOSYS);
  });
}

}  // namespace handlers

const fuse_lowlevel_ops& drive_operations() {
  // Absent: opendir, flush, release, create and access. The kernel learns from ENOSYS, ours or libfuse's, to do without:
  // it opens by itself and keeps its pages, makes files with mknod, and has written dirty pages back before a flush.
  static const fuse_lowlevel_ops operations = [] {
    fuse_lowlevel_ops ops{};
    ops.init = handlers::init;
    ops.open = handlers::open;
    ops.lookup = handlers::lookup;
    ops.forget = handlers::forget;
    ops.forget_multi = handlers::forget_multi;
    ops.getattr = handlers::getattr;
    ops.setattr = handlers::setattr;
    ops.readlink = handlers::readlink;
    ops.mknod = handlers::mknod;
    ops.mkdir = handlers::mkdir;
    ops.unlink = handlers::unlink;
    ops.rmdir = handlers::rmdir;
    ops.symlink = handlers::symlink;
    ops.rename = handlers::rename;
    ops.link = handlers::link;
    ops.statfs = handlers::statfs;
    ops.readdir = handlers::readdir;
    ops.readdirplus = handlers::readdirplus;
    ops.setxattr = handlers::setxattr;
    ops.getxattr = handlers::getxattr;
    ops.listxattr = handlers::listxattr;
    ops.removexattr = handlers::removexattr;
    ops.read = handlers::read;
    ops.write = handlers::write;
    ops.fsync = handlers::fsync;
    ops.fsyncdir = handlers::fsync;
    ops.fallocate = handlers::fallocate;
    ops.lseek = handlers::lseek;
    ops.copy_file_range = handlers::copy_file_range;
    return ops;
  }();
  return operations;
}

}  // namespace atl
