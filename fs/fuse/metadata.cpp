// Handlers of names and attributes.
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "fs/fuse/handler.h"
#include "fs/fuse/raw_request.h"

namespace atl::handlers {

void lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  handle(request, [&](Served& served, Reply& reply) {
    const Result<Attributes> found = served.drive.lookup(InodeNumber(parent), name);
    if (found || found.error().code != Code::not_found) return reply_entry(served, reply, found);
    fuse_entry_param absent{};  // inode 0: the kernel remembers that the name is free
    absent.entry_timeout = keep_seconds;
    static_cast<void>(reply.entry(absent));
  });
}

void forget(fuse_req_t request, fuse_ino_t inode, std::uint64_t count) {
  handle(request, [&](Served& served, Reply& reply) {
    served.pages.erase(InodeNumber(inode));
    served.blocks_outdated.erase(InodeNumber(inode));
    served.drive.forget(InodeNumber(inode), count);
    reply.none();
  });
}

void forget_multi(fuse_req_t request, std::size_t count, fuse_forget_data* forgets) {
  handle(request, [&](Served& served, Reply& reply) {
    for (std::size_t i = 0; i < count; ++i) {
      served.pages.erase(InodeNumber(forgets[i].ino));
      served.blocks_outdated.erase(InodeNumber(forgets[i].ino));
      served.drive.forget(InodeNumber(forgets[i].ino), forgets[i].nlookup);
    }
    reply.none();
  });
}

void getattr(fuse_req_t request, fuse_ino_t inode, fuse_file_info*) {
  handle(request, [&](Served& served, Reply& reply) {
    served.blocks_outdated.erase(InodeNumber(inode));
    const Result<Attributes> attributes = served.drive.attributes(InodeNumber(inode));
    attributes ? reply.attributes(*attributes) : reply.error(attributes.error());
  });
}

void setattr(fuse_req_t request, fuse_ino_t inode, struct stat* stat, int set, fuse_file_info*) {
  handle(request, [&](Served& served, Reply& reply) {
    const auto time = [&](int given, int now, const timespec& value) -> std::optional<Timestamp> {
      if ((set & now) != 0) return served.clock.wall_now();
      if ((set & given) == 0) return std::nullopt;
      return Timestamp{value.tv_sec, static_cast<std::uint32_t>(value.tv_nsec)};
    };
    AttributeChange change;
    if ((set & FUSE_SET_ATTR_MODE) != 0) change.mode = stat->st_mode & 07777u;
    if ((set & FUSE_SET_ATTR_UID) != 0) change.uid = stat->st_uid;
    if ((set & FUSE_SET_ATTR_GID) != 0) change.gid = stat->st_gid;
    if ((set & FUSE_SET_ATTR_SIZE) != 0) {
      if (stat->st_size < 0) return reply.error(EFBIG);
      change.size = static_cast<std::uint64_t>(stat->st_size);
    }
    change.atime = time(FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW, stat->st_atim);
    change.mtime = time(FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW, stat->st_mtim);
    change.ctime = time(FUSE_SET_ATTR_CTIME, 0, stat->st_ctim);
    served.blocks_outdated.erase(InodeNumber(inode));
    // With the set-id bits, which a new owner and a stranger's truncation take away; the kernel leaves that to us.
    const bool drops = change.uid || change.gid || raw_request::drops_set_id();
    if (drops) {
      const Result<Attributes> now = served.drive.attributes(InodeNumber(inode));
      if (!now) return reply.error(now.error());
      const std::uint32_t mode = change.mode.value_or(now->mode & 07777u);
      if (!S_ISDIR(now->mode) && without_set_id(mode) != mode) change.mode = without_set_id(mode);
    }
    const Result<Attributes> changed = served.drive.change_attributes(InodeNumber(inode), change);
    changed ? reply.attributes(*changed) : reply.error(changed.error());
  });
}

void readlink(fuse_req_t request, fuse_ino_t inode) {
  handle(request, [&](Served& served, Reply& reply) {
    const Result<std::string> target = served.drive.read_symlink(InodeNumber(inode));
    target ? reply.link_target(target->c_str()) : reply.error(target.error());
  });
}

void mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t device) {
  handle(request, [&](Served& served, Reply& reply) {
    reply_entry(served, reply, served.drive.make_node(InodeNumber(parent), name, mode, device, caller_of(request)));
  });
}

void mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  handle(request, [&](Served& served, Reply& reply) {
    reply_entry(served, reply, served.drive.make_directory(InodeNumber(parent), name, mode, caller_of(request)));
  });
}

void unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  handle(request,
         [&](Served& served, Reply& reply) { reply.result(served.drive.unlink(InodeNumber(parent), name)); });
}

void rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  handle(request, [&](Served& served, Reply& reply) {
    reply.result(served.drive.remove_directory(InodeNumber(parent), name));
  });
}

void symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  handle(request, [&](Served& served, Reply& reply) {
    reply_entry(served, reply, served.drive.make_symlink(InodeNumber(parent), name, target, caller_of(request)));
  });
}

void rename(fuse_req_t request, fuse_ino_t from, const char* from_name, fuse_ino_t to, const char* to_name, unsigned flags) {
  handle(request, [&](Served& served, Reply& reply) {
    RenameMode mode = RenameMode::replace;
    if (flags == RENAME_NOREPLACE)
      mode = RenameMode::no_replace;
    else if (flags == RENAME_EXCHANGE)
      mode = RenameMode::exchange;
    else if (flags != 0)
      return reply.error(EINVAL);
    reply.result(served.drive.rename(InodeNumber(from), from_name, InodeNumber(to), to_name, mode));
  });
}

void link(fuse_req_t request, fuse_ino_t inode, fuse_ino_t parent, const char* name) {
  handle(request, [&](Served& served, Reply& reply) {
    reply_entry(served, reply, served.drive.link(InodeNumber(inode), InodeNumber(parent), name));
  });
}

void statfs(fuse_req_t request, fuse_ino_t) {
  handle(request, [&](Served& served, Reply& reply) {
    const SpaceUsage space = served.drive.space();
    constexpr std::uint64_t block = 4096;
    struct statvfs answer {};
    answer.f_bsize = block;
    answer.f_frsize = block;
    answer.f_blocks = space.capacity_bytes / block;
    answer.f_bfree = space.free_bytes / block;
    answer.f_bavail = answer.f_bfree;
    // Inodes are rows, made as they are needed: as many as could be if each took one block.
    answer.f_files = space.files + answer.f_bfree;
    answer.f_ffree = answer.f_bfree;
    answer.f_favail = answer.f_bfree;
    answer.f_namemax = name_bytes_max;
    reply.statfs(answer);
  });
}

}  // namespace atl::handlers
