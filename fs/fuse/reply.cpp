#include "fs/fuse/reply.h"

#include <sys/stat.h>

namespace atl {

struct stat to_stat(const Attributes& attributes) {
  struct stat stat {};
  stat.st_ino = attributes.inode.value;
  stat.st_mode = attributes.mode;
  stat.st_nlink = attributes.links;
  stat.st_uid = attributes.uid;
  stat.st_gid = attributes.gid;
  stat.st_rdev = attributes.device;
  stat.st_size = static_cast<off_t>(attributes.size);
  stat.st_blksize = 4096;
  stat.st_blocks = static_cast<blkcnt_t>((attributes.allocated_bytes + 511) / 512);
  const auto set = [](timespec& to, const Timestamp& from) {
    to.tv_sec = from.seconds;
    to.tv_nsec = from.nanoseconds;
  };
  set(stat.st_atim, attributes.atime);
  set(stat.st_mtim, attributes.mtime);
  set(stat.st_ctim, attributes.ctime);
  return stat;
}

fuse_entry_param to_entry(const Attributes& attributes) {
  fuse_entry_param entry{};
  entry.ino = attributes.inode.value;
  entry.generation = 1;  // inode numbers are never used again
  entry.attr = to_stat(attributes);
  entry.attr_timeout = keep_seconds;
  entry.entry_timeout = keep_seconds;
  return entry;
}

}  // namespace atl
