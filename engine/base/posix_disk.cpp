#include "engine/base/posix_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <limits>

#include "engine/base/os_error.h"

namespace atl {

namespace {

constexpr std::uint64_t offset_max = static_cast<std::uint64_t>(std::numeric_limits<off_t>::max());
constexpr std::size_t pieces_per_call_max = 64;  // far below IOV_MAX, enough for a shard's gather list in few calls

/// Calls again while a signal interrupts.
template <typename Call>
auto retried(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

class PosixFile final : public File {
 public:
  PosixFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

  Result<std::size_t> read(std::uint64_t offset, MutableBytes out) override {
    if (offset > offset_max) return std::size_t{0};
    std::size_t done = 0;
    while (done < out.size()) {
      const ssize_t count =
          retried([&] { return ::pread(fd_.get(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done)); });
      if (count < 0) return fail_errno("read", path_);
      if (count == 0) break;
      done += static_cast<std::size_t>(count);
    }
    return done;
  }

  Result<> write(std::uint64_t offset, ByteView in) override {
    const ByteView pieces[] = {in};
    return write_gather(offset, pieces);
  }

  Result<> write_gather(std::uint64_t offset, std::span<const ByteView> pieces) override {
    std::array<iovec, pieces_per_call_max> vectors;
    std::size_t next = 0;     // the first piece not written in full
    std::size_t written = 0;  // of that piece
    for (;;) {
      while (next < pieces.size() && written == pieces[next].size()) {
        ++next;
        written = 0;
      }
      if (next == pieces.size()) return {};
      std::size_t filled = 0;
      std::size_t skip = written;
      for (std::size_t at = next; at < pieces.size() && filled < vectors.size(); ++at) {
        const ByteView rest = pieces[at].subspan(skip);
        skip = 0;
        if (rest.empty()) continue;
        vectors[filled++] = {const_cast<std::uint8_t*>(rest.data()), rest.size()};
      }
      const ssize_t count = retried([&] {
        return ::pwritev(fd_.get(), vectors.data(), static_cast<int>(filled), static_cast<off_t>(offset));
      });
      if (count < 0) return fail_errno("write", path_);
      if (count == 0) return fail(os_error("write", path_, ENOSPC));
      offset += static_cast<std::uint64_t>(count);
      for (auto left = static_cast<std::size_t>(count); left > 0;) {
        const std::size_t step = std::min(left, pieces[next].size() - written);
        written += step;
        left -= step;
        if (left > 0) {
          ++next;
          written = 0;
        }
      }
    }
  }

  Result<> sync() override {
    if (retried([&] { return ::fdatasync(fd_.get()); }) < 0) return fail_errno("flush", path_);
    return {};
  }

  Result<std::uint64_t> size() override {
    struct stat attributes {};
    if (::fstat(fd_.get(), &attributes) < 0) return fail_errno("look at", path_);
    return static_cast<std::uint64_t>(attributes.st_size);
  }

  Result<> truncate(std::uint64_t size) override {
    if (size > offset_max) return fail(os_error("resize", path_, EFBIG));
    if (retried([&] { return ::ftruncate(fd_.get(), static_cast<off_t>(size)); }) < 0) return fail_errno("resize", path_);
    return {};
  }

  Result<> allocate(std::uint64_t size) override {
    if (size == 0) return {};
    if (size > offset_max) return fail(os_error("reserve space for", path_, EFBIG));
    if (retried([&] { return ::fallocate(fd_.get(), 0, 0, static_cast<off_t>(size)); }) == 0) return {};
    if (errno != EOPNOTSUPP && errno != ENOSYS) return fail_errno("reserve space for", path_);
    return allocate_by_writing(size);
  }

  Result<> punch(std::uint64_t offset, std::uint64_t length) override {
    if (length == 0) return {};
    if (offset > offset_max || length > offset_max - offset) return fail(os_error("free a part of", path_, EFBIG));
    const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    if (retried([&] { return ::fallocate(fd_.get(), mode, static_cast<off_t>(offset), static_cast<off_t>(length)); }) == 0)
      return {};
    if (errno != EOPNOTSUPP && errno != ENOSYS) return fail_errno("free a part of", path_);
    return punch_by_writing(offset, length);
  }

  Result<std::uint64_t> allocated() override {
    struct stat attributes {};
    if (::fstat(fd_.get(), &attributes) < 0) return fail_errno("look at", path_);
    return static_cast<std::uint64_t>(attributes.st_blocks) * 512;
  }

  Result<std::shared_ptr<const std::uint8_t>> map(std::uint64_t offset, std::uint64_t length) override {
    auto present = this->size();
    if (!present) return fail(present.error());
    // A page behind the end of the file would be a SIGBUS at some later read.
    if (offset > *present || length > *present - offset) return fail(Code::invalid, path_ + " is shorter than what was to be mapped of it");
    if (length == 0) return std::make_shared<const std::uint8_t>(std::uint8_t{0});
    static const auto page_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    const auto before = static_cast<std::size_t>(offset % page_bytes);  // a mapping begins with a page
    const std::size_t mapped = before + static_cast<std::size_t>(length);
    void* address = ::mmap(nullptr, mapped, PROT_READ, MAP_SHARED, fd_.get(), static_cast<off_t>(offset - before));
    if (address == MAP_FAILED) {
      if (errno == ENODEV) return fail(os_error("map", path_, EOPNOTSUPP));
      return fail_errno("map", path_);
    }
    return std::shared_ptr<const std::uint8_t>(static_cast<const std::uint8_t*>(address) + before,
                                               [mapped, address](const std::uint8_t*) { ::munmap(address, mapped); });
  }

 private:
  /// The fallback where the file system cannot reserve: zeros in what is new and in every hole that it reports.
  Result<> allocate_by_writing(std::uint64_t size) {
    auto before = this->size();
    if (!before) return fail(before.error());
    auto done = fill_holes(std::min(size, *before));
    if (done && size > *before) done = write_zeros(*before, size - *before);
    if (!done && size > *before) (void)truncate(*before);  // as fallocate does: a failure leaves the size
    return done;
  }

  Result<> fill_holes(std::uint64_t end) {
    std::uint64_t at = 0;
    while (at < end) {
      const off_t hole = ::lseek(fd_.get(), static_cast<off_t>(at), SEEK_HOLE);
      if (hole < 0 || static_cast<std::uint64_t>(hole) >= end) return {};
      const off_t data = ::lseek(fd_.get(), hole, SEEK_DATA);
      const std::uint64_t hole_end = data < 0 ? end : std::min(end, static_cast<std::uint64_t>(data));
      if (auto done = write_zeros(static_cast<std::uint64_t>(hole), hole_end - static_cast<std::uint64_t>(hole)); !done)
        return done;
      at = hole_end;
    }
    return {};
  }

  /// The fallback where the file system has no holes: the range must read as zeros all the same.
  Result<> punch_by_writing(std::uint64_t offset, std::uint64_t length) {
    auto present = this->size();
    if (!present) return fail(present.error());
    if (offset >= *present) return {};
    return write_zeros(offset, std::min(length, *present - offset));
  }

  Result<> write_zeros(std::uint64_t offset, std::uint64_t length) {
    const Bytes zeros(static_cast<std::size_t>(std::min<std::uint64_t>(length, 1 << 20)));
    while (length > 0) {
      const auto step = static_cast<std::size_t>(std::min<std::uint64_t>(length, zeros.size()));
      if (auto done = write(offset, ByteView(zeros).first(step)); !done) return done;
      offset += step;
      length -= step;
    }
    return {};
  }

  Descriptor fd_;
  std::string path_;
};

int flags_of(OpenMode mode) {
  switch (mode) {
    case OpenMode::read: return O_RDONLY;
    case OpenMode::write: return O_RDWR;
    case OpenMode::create: return O_RDWR | O_CREAT;
    case OpenMode::create_new: return O_RDWR | O_CREAT | O_EXCL;
  }
  return O_RDONLY;
}

}  // namespace

Result<std::unique_ptr<File>> PosixDisk::open(const std::string& path, OpenMode mode) {
  const int fd = retried([&] { return ::open(path.c_str(), flags_of(mode) | O_CLOEXEC, 0600); });
  if (fd < 0) return fail_errno(mode == OpenMode::create_new ? "create" : "open", path);
  return std::make_unique<PosixFile>(fd, path);
}

Result<> PosixDisk::rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) < 0) return fail_errno("rename " + from + " to", to);
  return {};
}

Result<> PosixDisk::link(const std::string& from, const std::string& to) {
  if (::link(from.c_str(), to.c_str()) < 0) return fail_errno("link " + from + " as", to);
  return {};
}

Result<> PosixDisk::rename_new(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return {};
  // NFS and a few others know no flags to rename; they have hard links.
  if (errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP) return Disk::rename_new(from, to);
  return fail_errno("rename " + from + " to", to);
}

Result<> PosixDisk::remove(const std::string& path) {
  if (std::remove(path.c_str()) < 0) return fail_errno("remove", path);
  return {};
}

Result<> PosixDisk::make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0) return {};
  if (errno == EEXIST) {
    struct stat attributes {};
    if (::stat(path.c_str(), &attributes) == 0 && S_ISDIR(attributes.st_mode)) return {};
    return fail(os_error("create directory", path, ENOTDIR));
  }
  return fail_errno("create directory", path);
}

Result<> PosixDisk::sync_directory(const std::string& path) {
  const Descriptor directory(retried([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (directory.get() < 0) return fail_errno("open directory", path);
  if (retried([&] { return ::fsync(directory.get()); }) < 0) {
    // Some network file systems have no flush for directories; their names are as durable as they get.
    if (errno == EINVAL || errno == EOPNOTSUPP) return {};
    return fail_errno("flush directory", path);
  }
  return {};
}

Result<std::vector<std::string>> PosixDisk::list(const std::string& path) {
  DIR* directory = ::opendir(path.c_str());
  if (directory == nullptr) return fail_errno("list", path);
  const std::unique_ptr<DIR, int (*)(DIR*)> closer(directory, ::closedir);
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(directory);
    if (entry == nullptr) {
      if (errno != 0) return fail_errno("list", path);
      break;
    }
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<bool> PosixDisk::exists(const std::string& path) {
  struct stat attributes {};
  if (::lstat(path.c_str(), &attributes) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return fail_errno("look at", path);
}

Result<DiskUsage> PosixDisk::usage(const std::string& path) {
  struct statvfs space {};
  if (retried([&] { return ::statvfs(path.c_str(), &space); }) < 0) return fail_errno("look at the disk of", path);
  struct stat attributes {};
  if (::stat(path.c_str(), &attributes) < 0) return fail_errno("look at", path);
  const std::uint64_t block = space.f_frsize != 0 ? space.f_frsize : space.f_bsize;
  return DiskUsage{block * space.f_blocks, block * space.f_bavail, static_cast<std::uint64_t>(attributes.st_dev)};
}

}  // namespace atl
