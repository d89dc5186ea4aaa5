#include "cache/index/disk_vfs.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <set>
#include <stdexcept>
#include <vector>

#include "engine/base/mutant.h"

namespace atl {
namespace {

constexpr int path_bytes_max = 4096;
constexpr int sector_bytes = 4096;
constexpr std::size_t lock_slots = SQLITE_SHM_NLOCK;

std::string parent_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

/// What connections to one database share: what other programs keep in the locks and the -shm file of a file system.
struct Shared {
  std::mutex mutex;
  // The database's own lock, as SQLite's documentation of file locking describes it.
  int sharing = 0;
  const void* reserved = nullptr;
  const void* pending = nullptr;
  const void* exclusive = nullptr;
  // The log's index: regions of memory and the locks on their slots.
  struct Slot {
    int sharing = 0;
    bool exclusive = false;
  };
  std::vector<std::unique_ptr<std::uint8_t[]>> regions;
  std::size_t region_bytes = 0;
  std::array<Slot, lock_slots> slots;
  int mappers = 0;
};

}  // namespace

struct DiskVfs::State {
  State(Disk& disk_, bool read_only_) : disk(disk_), read_only(read_only_) {}

  Disk& disk;
  const bool read_only;
  std::string name;
  sqlite3_vfs vfs{};
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<Shared>> shared;  // by path of the database
  std::set<std::string> unflushed;                        // paths of files whose flush failed
  std::atomic<int> last_error{0};

  int note(const Error& error, int code) {
    last_error = error.os_error;
    return error.code == Code::no_space ? SQLITE_FULL : code;
  }
  bool poisoned(const std::string& path) {
    const std::lock_guard lock(mutex);
    return unflushed.contains(path);
  }
  void poison(const std::string& path) {
    if (mutant("index-flush-forgiven")) return;
    const std::lock_guard lock(mutex);
    unflushed.insert(path);
  }
  std::shared_ptr<Shared> shared_of(const std::string& path) {
    const std::lock_guard lock(mutex);
    auto& found = shared[path];
    if (!found) found = std::make_shared<Shared>();
    return found;
  }
};

namespace {

/// An open file as SQLite sees it: it owns the memory, the first member is what it knows.
struct VfsFile {
  sqlite3_file base;
  struct Content {
    DiskVfs::State* owner = nullptr;
    std::unique_ptr<File> file;  // none: a log that is absent, on a disk where nothing is created
    std::string path;
    bool new_name = false;       // its name may not be durable yet
    std::shared_ptr<Shared> shared;
    int level = SQLITE_LOCK_NONE;
    bool maps = false;
    std::uint32_t held_shared = 0;     // slots, one bit each
    std::uint32_t held_exclusive = 0;
  };
  Content* content;
};

VfsFile::Content& of(sqlite3_file* file) { return *reinterpret_cast<VfsFile*>(file)->content; }
DiskVfs::State& of(sqlite3_vfs* vfs) { return *static_cast<DiskVfs::State*>(vfs->pAppData); }

/// Nothing may be thrown through SQLite's frames.
template <typename Call>
int guarded(Call call) {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return SQLITE_NOMEM;
  } catch (const std::exception&) {
    return SQLITE_IOERR;
  }
}

// --- bytes ---

int read(sqlite3_file* raw, void* out, int count, sqlite3_int64 offset) {
  return guarded([&] {
    auto& f = of(raw);
    std::size_t got = 0;
    if (f.file) {
      auto done = f.file->read(static_cast<std::uint64_t>(offset), MutableBytes(static_cast<std::uint8_t*>(out), static_cast<std::size_t>(count)));
      if (!done) return f.owner->note(done.error(), SQLITE_IOERR_READ);
      got = *done;
    }
    if (got == static_cast<std::size_t>(count)) return SQLITE_OK;
    std::memset(static_cast<std::uint8_t*>(out) + got, 0, static_cast<std::size_t>(count) - got);
    return SQLITE_IOERR_SHORT_READ;
  });
}

int write(sqlite3_file* raw, const void* in, int count, sqlite3_int64 offset) {
  return guarded([&] {
    auto& f = of(raw);
    if (!f.file || f.owner->read_only) return SQLITE_READONLY;
    if (f.owner->poisoned(f.path)) return SQLITE_IOERR_WRITE;
    auto done = f.file->write(static_cast<std::uint64_t>(offset), ByteView(static_cast<const std::uint8_t*>(in), static_cast<std::size_t>(count)));
    return done ? SQLITE_OK : f.owner->note(done.error(), SQLITE_IOERR_WRITE);
  });
}

int truncate(sqlite3_file* raw, sqlite3_int64 size) {
  return guarded([&] {
    auto& f = of(raw);
    if (!f.file || f.owner->read_only) return SQLITE_READONLY;
    if (f.owner->poisoned(f.path)) return SQLITE_IOERR_TRUNCATE;
    auto done = f.file->truncate(static_cast<std::uint64_t>(size));
    return done ? SQLITE_OK : f.owner->note(done.error(), SQLITE_IOERR_TRUNCATE);
  });
}

int sync(sqlite3_file* raw, int) {
  return guarded([&] {
    auto& f = of(raw);
    if (!f.file || f.owner->read_only) return SQLITE_OK;
    if (f.owner->poisoned(f.path)) return SQLITE_IOERR_FSYNC;
    if (auto done = f.file->sync(); !done) {
      f.owner->poison(f.path);
      return f.owner->note(done.error(), SQLITE_IOERR_FSYNC);
    }
    if (f.new_name) {
      if (auto done = f.owner->disk.sync_directory(parent_of(f.path)); !done) {
        f.owner->poison(f.path);
        return f.owner->note(done.error(), SQLITE_IOERR_DIR_FSYNC);
      }
      f.new_name = false;
    }
    return SQLITE_OK;
  });
}

int file_size(sqlite3_file* raw, sqlite3_int64* size) {
  return guarded([&] {
    auto& f = of(raw);
    *size = 0;
    if (!f.file) return SQLITE_OK;
    auto found = f.file->size();
    if (!found) return f.owner->note(found.error(), SQLITE_IOERR_FSTAT);
    *size = static_cast<sqlite3_int64>(*found);
    return SQLITE_OK;
  });
}

// --- the database's lock ---

int lock(sqlite3_file* raw, int level) {
  auto& f = of(raw);
  Shared& s = *f.shared;
  const std::lock_guard guard(s.mutex);
  if (f.level >= level) return SQLITE_OK;
  const auto others = [&f](const void* holder) { return holder != nullptr && holder != &f; };
  if (level == SQLITE_LOCK_SHARED) {
    if (others(s.pending) || others(s.exclusive)) return SQLITE_BUSY;
    ++s.sharing;
  } else if (level == SQLITE_LOCK_RESERVED) {
    if (others(s.reserved) || others(s.pending) || others(s.exclusive)) return SQLITE_BUSY;
    s.reserved = &f;
  } else {
    if (others(s.reserved) || others(s.pending) || others(s.exclusive)) return SQLITE_BUSY;
    s.pending = &f;
    if (s.sharing > 1) {
      f.level = std::max(f.level, SQLITE_LOCK_PENDING);
      return SQLITE_BUSY;  // no new readers from here on; tried again when the old ones are gone
    }
    s.exclusive = &f;
  }
  f.level = level;
  return SQLITE_OK;
}

int unlock(sqlite3_file* raw, int level) {
  auto& f = of(raw);
  Shared& s = *f.shared;
  const std::lock_guard guard(s.mutex);
  if (f.level <= level) return SQLITE_OK;
  for (const void** holder : {&s.reserved, &s.pending, &s.exclusive})
    if (*holder == &f) *holder = nullptr;
  if (level == SQLITE_LOCK_NONE) --s.sharing;
  f.level = level;
  return SQLITE_OK;
}

int check_reserved(sqlite3_file* raw, int* result) {
  Shared& s = *of(raw).shared;
  const std::lock_guard guard(s.mutex);
  *result = s.reserved != nullptr || s.pending != nullptr || s.exclusive != nullptr ? 1 : 0;
  return SQLITE_OK;
}

// --- the memory of the write-ahead log ---

int shm_map(sqlite3_file* raw, int region, int bytes, int extend, void volatile** out) {
  return guarded([&] {
    auto& f = of(raw);
    Shared& s = *f.shared;
    const std::lock_guard guard(s.mutex);
    if (!f.maps) {
      f.maps = true;
      ++s.mappers;
    }
    s.region_bytes = static_cast<std::size_t>(bytes);
    const auto wanted = static_cast<std::size_t>(region);
    *out = nullptr;
    if (wanted >= s.regions.size()) {
      if (extend == 0) return SQLITE_OK;
      while (s.regions.size() <= wanted) s.regions.push_back(std::make_unique<std::uint8_t[]>(s.region_bytes));
    }
    *out = s.regions[wanted].get();
    return SQLITE_OK;
  });
}

int shm_lock(sqlite3_file* raw, int first, int count, int flags) {
  auto& f = of(raw);
  Shared& s = *f.shared;
  const std::lock_guard guard(s.mutex);
  const std::uint32_t mask = ((1u << (first + count)) - 1) & ~((1u << first) - 1);
  const auto each = [&](auto&& visit) {
    for (int i = first; i < first + count; ++i) visit(s.slots[static_cast<std::size_t>(i)], 1u << i);
  };
  if ((flags & SQLITE_SHM_UNLOCK) != 0) {
    each([&](Shared::Slot& slot, std::uint32_t bit) {
      if ((f.held_exclusive & bit) != 0) slot.exclusive = false;
      if ((f.held_shared & bit) != 0) --slot.sharing;
    });
    f.held_exclusive &= ~mask;
    f.held_shared &= ~mask;
    return SQLITE_OK;
  }
  bool busy = false;
  if ((flags & SQLITE_SHM_SHARED) != 0) {
    if ((f.held_shared & mask) == mask) return SQLITE_OK;
    each([&](Shared::Slot& slot, std::uint32_t) { busy |= slot.exclusive; });
    if (busy) return SQLITE_BUSY;
    each([&](Shared::Slot& slot, std::uint32_t) { ++slot.sharing; });
    f.held_shared |= mask;
    return SQLITE_OK;
  }
  each([&](Shared::Slot& slot, std::uint32_t bit) {
    busy |= (slot.exclusive && (f.held_exclusive & bit) == 0) || slot.sharing > ((f.held_shared & bit) != 0 ? 1 : 0);
  });
  if (busy) return SQLITE_BUSY;
  each([&](Shared::Slot& slot, std::uint32_t) { slot.exclusive = true; });
  f.held_exclusive |= mask;
  return SQLITE_OK;
}

void shm_barrier(sqlite3_file* raw) {
  // The mutex is what sanitizers understand; the fence orders this thread's plain accesses around it.
  const std::lock_guard guard(of(raw).shared->mutex);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

int shm_unmap(sqlite3_file* raw, int) {
  auto& f = of(raw);
  Shared& s = *f.shared;
  const std::lock_guard guard(s.mutex);
  if (!f.maps) return SQLITE_OK;
  f.maps = false;
  // The last one takes the memory along: whoever comes next reads the log itself, as after a crash.
  if (--s.mappers == 0) s.regions.clear();
  return SQLITE_OK;
}

// --- files ---

int close(sqlite3_file* raw) {
  auto* file = reinterpret_cast<VfsFile*>(raw);
  const std::unique_ptr<VfsFile::Content> content(file->content);
  file->content = nullptr;
  if (content->shared) {
    Shared& s = *content->shared;
    const std::lock_guard guard(s.mutex);
    for (const void** holder : {&s.reserved, &s.pending, &s.exclusive})
      if (*holder == content.get()) *holder = nullptr;
    if (content->level > SQLITE_LOCK_NONE) --s.sharing;
  }
  return SQLITE_OK;
}

int file_control(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
int sector_size(sqlite3_file*) { return sector_bytes; }
int device_characteristics(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }

const sqlite3_io_methods methods = {
    2,          close,          read,        write,       truncate,  sync,
    file_size,  lock,           unlock,      check_reserved, file_control, sector_size,
    device_characteristics, shm_map, shm_lock, shm_barrier, shm_unmap, nullptr,
    nullptr,
};

int open(sqlite3_vfs* vfs, const char* path, sqlite3_file* raw, int flags, int* out_flags) {
  return guarded([&] {
    auto* file = reinterpret_cast<VfsFile*>(raw);
    file->base.pMethods = nullptr;
    DiskVfs::State& state = of(vfs);
    if (path == nullptr) return SQLITE_CANTOPEN;
    const bool database = (flags & SQLITE_OPEN_MAIN_DB) != 0;
    const bool create = (flags & SQLITE_OPEN_CREATE) != 0 && !state.read_only;
    auto content = std::make_unique<VfsFile::Content>();
    content->owner = &state;
    content->path = path;
    const OpenMode mode = state.read_only || (flags & SQLITE_OPEN_READONLY) != 0 ? OpenMode::read : OpenMode::write;
    auto opened = state.disk.open(content->path, mode);
    if (!opened && opened.error().code == Code::not_found && create) {
      opened = state.disk.open(content->path, OpenMode::create);
    }
    content->new_name = create;  // another connection may have made it, and not flushed it yet
    if (opened) {
      content->file = std::move(*opened);
    } else if (opened.error().code != Code::not_found) {
      return state.note(opened.error(), SQLITE_IOERR);
    } else if (database || !state.read_only) {
      return state.note(opened.error(), SQLITE_CANTOPEN);
    }
    if (database) content->shared = state.shared_of(content->path);
    if (out_flags != nullptr) *out_flags = state.read_only ? (flags & ~(SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)) | SQLITE_OPEN_READONLY : flags;
    file->content = content.release();
    file->base.pMethods = &methods;
    return SQLITE_OK;
  });
}

int remove(sqlite3_vfs* vfs, const char* path, int sync_directory) {
  return guarded([&] {
    DiskVfs::State& state = of(vfs);
    if (state.read_only) return SQLITE_READONLY;
    auto done = state.disk.remove(path);
    if (!done) return done.error().code == Code::not_found ? SQLITE_IOERR_DELETE_NOENT : state.note(done.error(), SQLITE_IOERR_DELETE);
    if (sync_directory == 0) return SQLITE_OK;
    done = state.disk.sync_directory(parent_of(path));
    return done ? SQLITE_OK : state.note(done.error(), SQLITE_IOERR_DIR_FSYNC);
  });
}

int access(sqlite3_vfs* vfs, const char* path, int flags, int* result) {
  return guarded([&] {
    DiskVfs::State& state = of(vfs);
    auto there = state.disk.exists(path);
    if (!there) return state.note(there.error(), SQLITE_IOERR_ACCESS);
    *result = *there && (flags != SQLITE_ACCESS_READWRITE || !state.read_only) ? 1 : 0;
    return SQLITE_OK;
  });
}

int full_path(sqlite3_vfs*, const char* path, int bytes, char* out) {
  const std::size_t length = std::strlen(path) + 1;
  if (length > static_cast<std::size_t>(bytes)) return SQLITE_CANTOPEN;
  std::memcpy(out, path, length);
  return SQLITE_OK;
}

// Chance and waiting come from SQLite's own; nothing in the index depends on either. Neither does it on the date.
int randomness(sqlite3_vfs*, int bytes, char* out) {
  sqlite3_vfs* system = sqlite3_vfs_find(nullptr);
  return system->xRandomness(system, bytes, out);
}
int sleep(sqlite3_vfs*, int microseconds) {
  sqlite3_vfs* system = sqlite3_vfs_find(nullptr);
  return system->xSleep(system, microseconds);
}
int current_time(sqlite3_vfs*, double* days) {
  *days = 0;
  return SQLITE_OK;
}
int last_error(sqlite3_vfs* vfs, int, char*) { return of(vfs).last_error.load(); }

}  // namespace

DiskVfs::DiskVfs(Disk& disk, bool read_only) : state_(std::make_unique<State>(disk, read_only)) {
  static std::atomic<std::uint64_t> made{0};
  state_->name = "atoll-" + std::to_string(++made);
  if (const int code = sqlite3_initialize(); code != SQLITE_OK) throw std::runtime_error("SQLite does not start");
  sqlite3_vfs& vfs = state_->vfs;
  vfs.iVersion = 1;
  vfs.szOsFile = sizeof(VfsFile);
  vfs.mxPathname = path_bytes_max;
  vfs.zName = state_->name.c_str();
  vfs.pAppData = state_.get();
  vfs.xOpen = open;
  vfs.xDelete = remove;
  vfs.xAccess = access;
  vfs.xFullPathname = full_path;
  vfs.xRandomness = randomness;
  vfs.xSleep = sleep;
  vfs.xCurrentTime = current_time;
  vfs.xGetLastError = last_error;
  if (sqlite3_vfs_register(&vfs, 0) != SQLITE_OK) throw std::bad_alloc();
}

DiskVfs::~DiskVfs() { sqlite3_vfs_unregister(&state_->vfs); }

const std::string& DiskVfs::name() const { return state_->name; }
bool DiskVfs::read_only() const { return state_->read_only; }

}  // namespace atl
