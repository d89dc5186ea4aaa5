// Handlers that list directories.
#include <memory>

#include "fs/fuse/handler.h"

namespace atl::handlers {

namespace {

/// Reused by a worker from listing to listing.
thread_local std::vector<char> listing;
thread_local std::vector<InodeNumber> counted;

void list(fuse_req_t request, fuse_ino_t inode, std::size_t size, off_t cookie, bool plus) {
  handle(request, [&](Served& served, Reply& reply) {
    size = std::min(size, request_bytes_max);
    if (listing.size() < size) listing.resize(size);
    counted.clear();
    std::size_t used = 0;
    std::string name;  // libfuse wants it terminated
    const auto visit = [&](const DirectoryEntry& shown) {
      name.assign(shown.name);
      char* at = listing.data() + used;
      const std::size_t left = size - used;
      const auto next = static_cast<off_t>(shown.cookie);
      std::size_t needed = 0;
      if (plus) {
        fuse_entry_param entry{};  // inode 0: nothing counted, as for "." and ".."
        if (shown.attributes != nullptr) {
          served.blocks_outdated.erase(shown.inode);
          entry = to_entry(*shown.attributes);
        } else {
          entry.attr.st_ino = shown.inode.value;
          entry.attr.st_mode = shown.mode;
        }
        needed = fuse_add_direntry_plus(request, at, left, name.c_str(), &entry, next);
      } else {
        struct stat stat {};
        stat.st_ino = shown.inode.value;
        stat.st_mode = shown.mode;
        needed = fuse_add_direntry(request, at, left, name.c_str(), &stat, next);
      }
      if (needed > left) return false;
      used += needed;
      if (plus && shown.attributes != nullptr) counted.push_back(shown.inode);
      return true;
    };
    const auto give_back = [&] {
      for (const InodeNumber one : counted) served.drive.forget(one, 1);
    };
    const Result<> listed =
        served.drive.list_directory(InodeNumber(inode), static_cast<std::uint64_t>(cookie), plus, visit);
    if (!listed) {
      give_back();
      return reply.error(listed.error());
    }
    if (!reply.buffer(listing.data(), used)) give_back();
  });
}

}  // namespace

void readdir(fuse_req_t request, fuse_ino_t inode, std::size_t size, off_t cookie, fuse_file_info*) {
  list(request, inode, size, cookie, false);
}

void readdirplus(fuse_req_t request, fuse_ino_t inode, std::size_t size, off_t cookie, fuse_file_info*) {
  list(request, inode, size, cookie, true);
}

}  // namespace atl::handlers
