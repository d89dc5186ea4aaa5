// Handlers of file content.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "fs/fuse/handler.h"
#include "fs/fuse/raw_request.h"

namespace atl::handlers {

namespace {

/// Ties a request that may wait to the kernel's interrupt for it. Destroy before the reply is given.
class Interruptible {
 public:
  Interruptible(Served& served, fuse_req_t request) : served_(served), request_(request) {
    state_->caller = fuse_req_ctx(request)->pid;
    fuse_req_interrupt_func(request, &Interruptible::interrupted, this);
  }
  Interruptible(const Interruptible&) = delete;
  ~Interruptible() {
    // Takes the lock under which the callback runs: afterwards it does not run any more.
    fuse_req_interrupt_func(request_, nullptr, nullptr);
    state_->done.store(true);
  }
  std::stop_token token() const { return state_->stop.get_token(); }

 private:
  static void interrupted(fuse_req_t, void* self) {
    auto* one = static_cast<Interruptible*>(self);
    one->served_.attendant.interrupted(one->state_);
  }

  Served& served_;
  fuse_req_t request_;
  std::shared_ptr<Interruption> state_ = std::make_shared<Interruption>();
};

/// A worker's own buffer for answers to reads, aligned to pages.
MutableBytes read_buffer() {
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  thread_local std::unique_ptr<void, Free> memory;
  if (!memory) memory.reset(std::aligned_alloc(4096, request_bytes_max));
  if (!memory) throw std::bad_alloc();
  return {static_cast<std::uint8_t*>(memory.get()), request_bytes_max};
}

void read_now(Served& served, Reply& reply, InodeNumber inode, std::size_t size, std::uint64_t offset, bool atime) {
  const MutableBytes buffer = read_buffer().first(std::min(size, request_bytes_max));
  const Result<std::size_t> count = [&] {
    const Interruptible interruptible(served, reply.request());
    return served.drive.read(inode, offset, buffer, atime, interruptible.token());
  }();
  if (!count) return reply.error(count.error());
  static_cast<void>(reply.buffer(buffer.data(), *count));
}

/// Takes a file's set-id bits away. The kernel, which holds the file's lock meanwhile, learns the new mode when it next
/// asks.
Result<> drop_set_id(Served& served, InodeNumber inode) {
  const Result<Attributes> now = served.drive.attributes(inode);
  if (!now) return fail(now.error());
  const std::uint32_t mode = now->mode & 07777u;
  if (!S_ISREG(now->mode) || without_set_id(mode) == mode) return {};
  AttributeChange change;
  change.mode = without_set_id(mode);
  if (const auto changed = served.drive.change_attributes(inode, change); !changed) return fail(changed.error());
  static_cast<void>(fuse_lowlevel_notify_inval_inode(served.session, inode.value, -1, 0));
  return {};
}

/// Where the kernel does not say whether the caller may keep them.
Result<> drop_set_id_of_stranger(Served& served, fuse_req_t request, InodeNumber inode) {
  if (fuse_req_ctx(request)->uid == 0) return {};
  return drop_set_id(served, inode);
}

void write_now(Served& served, Reply& reply, InodeNumber inode, ByteView in, std::uint64_t offset, bool drops_set_id) {
  const Result<> written = [&] {
    struct Ended {
      Served& of;
      ~Ended() { of.writes_running.fetch_sub(1); }
    } const ended{served};
    if (drops_set_id)
      if (Result<> dropped = drop_set_id(served, inode); !dropped) return dropped;
    const Interruptible interruptible(served, reply.request());
    return served.drive.write(inode, offset, in, interruptible.token());
  }();
  if (!written) return reply.error(written.error());
  // Under its write-back cache the kernel never asks again how many blocks a file has; once told, it does at the next stat.
  if (served.blocks_outdated.insert(inode))
    static_cast<void>(fuse_lowlevel_notify_inval_inode(served.session, inode.value, -1, 0));
  reply.count(in.size());
}

/// Runs `now(reply)` on this worker if the gate lets it, else `later` with a request of its own, when others have left.
template <typename Now, typename Later>
void pass(Served& served, Reply& reply, const Now& now, const Later& make_later) {
  if (served.gate.enter()) {
    struct Leave {
      Gate& gate;
      ~Leave() { gate.leave(); }
    } const leave{served.gate};
    now(reply);
    return;
  }
  served.gate.wait(make_later(std::make_shared<Reply>(std::move(reply))));
}

/// What the drive says about a file that no dirty page could change: writes back what the kernel holds over holes until
/// two looks agree. On the attendant's thread, since writing back needs workers.
Result<std::uint64_t> seek_through_dirty_pages(Served& served, InodeNumber inode, std::uint64_t offset, SeekWhat what) {
  const auto write_back = [&](std::uint64_t from, std::uint64_t length) {
    return fuse_lowlevel_notify_inval_inode(served.session, inode.value, static_cast<off_t>(from),
                                            static_cast<off_t>(length));
  };
  constexpr int looks_max = 100;  // a file that is being written all the time: the last answer was true at some time
  Result<std::uint64_t> found = served.drive.seek(inode, offset, what);
  for (int look = 0; look < looks_max; ++look) {
    std::uint64_t from = offset;  // the hole that the answer claims starts here
    std::uint64_t length = 0;     // 0: to the end
    if (found && what == SeekWhat::data) {
      if (*found <= offset) return found;
      length = *found - offset;
    } else if (found && what == SeekWhat::hole) {
      from = *found;
      const Result<std::uint64_t> data = served.drive.seek(inode, from, SeekWhat::data);
      if (data && *data > from) length = *data - from;
    } else if (found.error().code != Code::not_found) {
      return found;
    }
    write_back(from, length);
    Result<std::uint64_t> again = served.drive.seek(inode, offset, what);
    if (again.has_value() == found.has_value() && (!again || *again == *found)) return again;
    found = std::move(again);
  }
  return found;
}

}  // namespace

void read(fuse_req_t request, fuse_ino_t inode, std::size_t size, off_t offset, fuse_file_info* file) {
  handle(request, [&](Served& served, Reply& reply) {
    const bool atime = served.update_atime && (file->flags & O_NOATIME) == 0;
    const InodeNumber number(inode);
    const auto at = static_cast<std::uint64_t>(offset);
    served.pages.insert(number);
    pass(
        served, reply, [&](Reply& now) { read_now(served, now, number, size, at, atime); },
        [&](std::shared_ptr<Reply> later) {
          return [&served, later = std::move(later), number, size, at, atime] {
            handle_later(*later, [&] { read_now(served, *later, number, size, at, atime); });
          };
        });
  });
}

void write(fuse_req_t request, fuse_ino_t inode, const char* data, std::size_t size, off_t offset, fuse_file_info*) {
  handle(request, [&](Served& served, Reply& reply) {
    const InodeNumber number(inode);
    const auto at = static_cast<std::uint64_t>(offset);
    const ByteView in = as_bytes({data, size});
    const bool drops = raw_request::drops_set_id();
    served.pages.insert(number);
    served.writes_running.fetch_add(1);
    served.writes_seen.fetch_add(1);
    pass(
        served, reply, [&](Reply& now) { write_now(served, now, number, in, at, drops); },
        [&](std::shared_ptr<Reply> later) {
          // The worker's buffer is used again: what waits needs its own copy.
          auto copy = std::make_shared<const Bytes>(in.begin(), in.end());
          return [&served, later = std::move(later), number, copy = std::move(copy), at, drops] {
            handle_later(*later, [&] { write_now(served, *later, number, *copy, at, drops); });
          };
        });
  });
}

void fsync(fuse_req_t request, fuse_ino_t, int, fuse_file_info*) {
  handle(request, [&](Served& served, Reply& reply) { reply.result(served.drive.commit()); });
}

void fallocate(fuse_req_t request, fuse_ino_t inode, int mode, off_t offset, off_t length, fuse_file_info*) {
  handle(request, [&](Served& served, Reply& reply) {
    FallocateMode what = FallocateMode::allocate;
    switch (mode) {
      case 0: break;
      case FALLOC_FL_KEEP_SIZE: what = FallocateMode::allocate_keep_size; break;
      case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE: what = FallocateMode::punch_hole; break;
      case FALLOC_FL_ZERO_RANGE: what = FallocateMode::zero_range; break;
      case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE: what = FallocateMode::zero_range_keep_size; break;
      default: return reply.error(EOPNOTSUPP);
    }
    if (offset < 0 || length <= 0) return reply.error(EINVAL);
    if (const auto dropped = drop_set_id_of_stranger(served, request, InodeNumber(inode)); !dropped)
      return reply.error(dropped.error());
    reply.result(served.drive.fallocate(InodeNumber(inode), what, static_cast<std::uint64_t>(offset),
                                        static_cast<std::uint64_t>(length)));
  });
}

void lseek(fuse_req_t request, fuse_ino_t inode, off_t offset, int whence, fuse_file_info*) {
  handle(request, [&](Served& served, Reply& reply) {
    if (whence != SEEK_DATA && whence != SEEK_HOLE) return reply.error(EINVAL);
    if (offset < 0) return reply.error(ENXIO);
    const InodeNumber number(inode);
    const auto at = static_cast<std::uint64_t>(offset);
    const SeekWhat what = whence == SEEK_DATA ? SeekWhat::data : SeekWhat::hole;
    // Dirty pages add data and never take any: where the drive has data already, its word is enough.
    if (what == SeekWhat::data) {
      const Result<std::uint64_t> found = served.drive.seek(number, at, what);
      if (found && *found == at) return reply.offset(at);
    }
    auto later = std::make_shared<Reply>(std::move(reply));
    served.attendant.post([&served, later = std::move(later), number, at, what] {
      handle_later(*later, [&] {
        const Result<std::uint64_t> found = seek_through_dirty_pages(served, number, at, what);
        if (found) return later->offset(*found);
        later->error(found.error().code == Code::not_found ? ENXIO : to_errno(found.error().code));
      });
    });
  });
}

void copy_file_range(fuse_req_t request, fuse_ino_t from, off_t from_offset, fuse_file_info*, fuse_ino_t to,
                     off_t to_offset, fuse_file_info*, std::size_t length, int flags) {
  handle(request, [&](Served& served, Reply& reply) {
    if (flags != 0) return reply.error(EINVAL);
    if (const auto dropped = drop_set_id_of_stranger(served, request, InodeNumber(to)); !dropped)
      return reply.error(dropped.error());
    // The answer's count has 32 bits; callers go on where a copy was short.
    constexpr std::size_t copy_bytes_max = std::size_t{1} << 30;
    const Result<std::uint64_t> copied = served.drive.copy_range(
        InodeNumber(from), static_cast<std::uint64_t>(from_offset), InodeNumber(to),
        static_cast<std::uint64_t>(to_offset), std::min(length, copy_bytes_max));
    if (!copied) return reply.error(copied.error());
    reply.count(static_cast<std::size_t>(*copied));
  });
}

}  // namespace atl::handlers
