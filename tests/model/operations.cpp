#include "tests/model/operations.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <sstream>

namespace model {
namespace {

constexpr std::uint64_t file_bytes_most = 3'000'000;
const char* const folders[] = {"", "a", "b", "a/c", "a/c/d"};
constexpr unsigned names_a_folder = 6;
constexpr unsigned path_count = 5 * names_a_folder + 4;

// How often each kind is drawn.
const std::pair<const char*, unsigned> weights[] = {
    {"open", 70},    {"close", 30},     {"write", 110},   {"append", 25},  {"read", 60},      {"truncate", 20}, {"ftruncate", 20},
    {"unlink", 30},  {"mkdir", 12},     {"rmdir", 8},     {"mkfifo", 3},   {"symlink", 8},    {"readlink", 5},  {"link", 15},
    {"rename", 30},  {"noreplace", 6},  {"exchange", 10}, {"chmod", 10},   {"chown", 6},      {"utimens", 8},   {"setxattr", 12},
    {"getxattr", 8}, {"listxattr", 4},  {"removexattr", 5}, {"punch", 14}, {"zero", 8},       {"allocate", 8},  {"copy", 25},
    {"map", 14},     {"mapwrite", 25},  {"mapread", 8},   {"unmap", 8},    {"fsync", 8},      {"stat", 15},     {"list", 8},
    {"reopen", 8},   {"flock", 8},      {"lock", 10},     {"dropped", 6},  {"data", 8},       {"syncfolder", 3}};

std::uint64_t mix(std::uint64_t z) {  // splitmix64's finisher
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

std::string bytes_of(std::uint64_t seed, std::size_t length) {
  std::string out(length, '\0');
  for (std::size_t at = 0; at < length; at += 8) {
    std::uint64_t word = mix(seed + at);
    std::memcpy(out.data() + at, &word, std::min<std::size_t>(8, length - at));
  }
  return out;
}

std::string hash(std::string_view bytes) {
  std::uint64_t h = mix(bytes.size());
  for (std::size_t at = 0; at < bytes.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, std::min<std::size_t>(8, bytes.size() - at));
    h = (h ^ word) * 0x9e3779b97f4a7c15ull;
    h ^= h >> 29;
  }
  std::ostringstream out;
  out << bytes.size() << " bytes #" << std::hex << h;
  return out.str();
}

std::string told(long value) { return value == -1 ? strerrorname_np(errno) : std::to_string(value); }

std::string contents(int fd, std::uint64_t size) {
  std::string bytes(size, '\0');
  std::size_t have = 0;
  while (have < size) {
    ssize_t got = ::pread(fd, bytes.data() + have, size - have, static_cast<off_t>(have));
    if (got < 0) return strerrorname_np(errno);
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  bytes.resize(have);
  return hash(bytes);
}

std::string attributes(const struct stat& s) {
  std::ostringstream out;
  out << std::oct << s.st_mode << std::dec << " uid " << s.st_uid << " gid " << s.st_gid << " links " << s.st_nlink;
  if (S_ISREG(s.st_mode) || S_ISLNK(s.st_mode)) out << " size " << s.st_size;
  return out.str();
}

std::string xattrs(const std::string& path) {
  char names[4096];
  ssize_t got = ::llistxattr(path.c_str(), names, sizeof names);
  if (got < 0) return strerrorname_np(errno);
  std::map<std::string, std::string> all;
  for (ssize_t at = 0; at < got; at += static_cast<ssize_t>(std::strlen(names + at)) + 1) {
    char value[4096];
    ssize_t size = ::lgetxattr(path.c_str(), names + at, value, sizeof value);
    all[names + at] = size < 0 ? strerrorname_np(errno) : hash({value, static_cast<std::size_t>(size)});
  }
  std::string text;
  for (const auto& [name, value] : all) text += " " + name + "=" + value;
  return text;
}

int open_flags(std::uint64_t seed) {
  static const int modes[] = {O_RDWR, O_RDWR, O_RDWR, O_RDONLY, O_WRONLY};
  int flags = modes[seed % 5] | O_NONBLOCK | O_CLOEXEC;
  if (seed / 5 % 2 == 0) flags |= O_CREAT;
  if (seed / 10 % 8 == 0) flags |= O_TRUNC;
  if (seed / 80 % 8 == 0) flags |= O_EXCL;
  if (seed / 640 % 8 == 0) flags |= O_APPEND;
  if (seed / 5120 % 16 == 0) flags |= O_SYNC;
  if (seed / 81920 % 16 == 0) flags |= O_NOFOLLOW;
  return flags;
}

}  // namespace

std::string to_text(const Operation& op) {
  std::ostringstream out;
  out << op.kind << ' ' << op.a << ' ' << op.b << ' ' << op.offset << ' ' << op.length << ' ' << op.seed;
  return out.str();
}

bool from_text(const std::string& text, Operation& op) {
  std::istringstream in(text);
  return static_cast<bool>(in >> op.kind >> op.a >> op.b >> op.offset >> op.length >> op.seed);
}

Operation random_operation(std::uint64_t seed, std::uint64_t n) {
  std::uint64_t state = mix(seed * 0x9e3779b97f4a7c15ull + n * 0xda942042e4dd58b5ull + 1);
  auto draw = [&] { return mix(state += 0x9e3779b97f4a7c15ull); };
  unsigned total = 0;
  for (const auto& [kind, weight] : weights) total += weight;
  std::uint64_t at = draw() % total;
  Operation op;
  for (const auto& [kind, weight] : weights) {
    if (at < weight) {
      op.kind = kind;
      break;
    }
    at -= weight;
  }
  op.a = static_cast<unsigned>(draw() % (path_count * slots));
  op.b = static_cast<unsigned>(draw() % (path_count * slots));
  // Small and block-aligned values are as likely as odd ones. Most are small, so that most of a file is bytes: what
  // happens to holes shows little.
  auto size = [&](std::uint64_t most) {
    const std::uint64_t shape = draw() % 8;
    const std::uint64_t value = draw() % std::min<std::uint64_t>(most, shape < 2 ? 4096 : shape < 6 ? 150'000 : shape < 7 ? 600'000 : most);
    return draw() % 4 == 0 ? value / 4096 * 4096 : value;
  };
  op.offset = size(file_bytes_most);
  op.length = 1 + size(draw() % 10 == 0 ? 1'000'000 : 60'000);
  op.seed = draw() % 1'000'000'007;
  return op;
}

Side::Side(std::string root) : root_(std::move(root)) {
  fd_.fill(-1);
  ::mkdir(root_.c_str(), 0755);
  for (const char* folder : folders) ::mkdir((root_ + "/" + folder).c_str(), 0755);
}

std::string Side::path(unsigned index) const {
  index %= path_count;
  if (index >= 5 * names_a_folder) return root_ + "/" + folders[1 + index - 5 * names_a_folder];
  return root_ + "/" + folders[index / names_a_folder] + "/n" + std::to_string(index % names_a_folder);
}

void Side::unmap(Map& map) {
  if (map.at != nullptr) ::munmap(map.at, map.length);
  if (map.fd >= 0) ::close(map.fd);
  map = Map{};
}

void Side::close_all() {
  for (Map& map : map_) unmap(map);
  for (int& fd : fd_) {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }
}

std::string Side::perform(const Operation& op) {
  errno = 0;
  const std::string &k = op.kind, p = path(op.a), q = path(op.b);
  int &fd = fd_[op.a % slots], &other = fd_[op.b % slots];
  Map& map = map_[op.a % maps];
  const off_t offset = static_cast<off_t>(op.offset), length = static_cast<off_t>(op.length);
  auto put = [&](auto write) {
    std::string bytes = bytes_of(op.seed, op.length);
    return told(write(bytes));
  };
  if (k == "open" || k == "reopen") {
    std::string name = k == "open" ? q : "/proc/self/fd/" + std::to_string(other);
    if (k == "reopen" && other < 0) return "no handle";
    int flags = open_flags(op.seed);
    if (k == "reopen") flags &= ~(O_NOFOLLOW | O_CREAT | O_EXCL);  // the name is a link, and the file is there
    int fresh = ::open(name.c_str(), flags, 0644);
    if (fresh < 0) return told(-1);
    if (fd >= 0) ::close(fd);
    fd = fresh;
    return "opened";
  }
  if (k == "close") {
    if (fd < 0) return "no handle";
    int result = ::close(fd);
    fd = -1;
    return told(result);
  }
  if (k == "write") return put([&](const std::string& bytes) { return ::pwrite(fd, bytes.data(), bytes.size(), offset); });
  if (k == "append") return put([&](const std::string& bytes) {
      struct stat s;
      if (fd < 0 || ::fstat(fd, &s) != 0 || s.st_size > static_cast<off_t>(file_bytes_most)) return ssize_t{0};
      ::lseek(fd, 0, SEEK_END);
      return ::write(fd, bytes.data(), bytes.size());
    });
  if (k == "read") {
    std::string bytes(op.length, '\0');
    ssize_t got = ::pread(fd, bytes.data(), bytes.size(), offset);
    return got < 0 ? told(got) : hash({bytes.data(), static_cast<std::size_t>(got)});
  }
  if (k == "truncate") return told(::truncate(p.c_str(), offset));
  if (k == "ftruncate") return told(::ftruncate(fd, offset));
  if (k == "unlink") return told(::unlink(p.c_str()));
  if (k == "mkdir") return told(::mkdir(p.c_str(), 0700 | (op.seed & 07077)));
  if (k == "rmdir") return told(::rmdir(p.c_str()));
  if (k == "mkfifo") return told(::mkfifo(p.c_str(), 0640));
  if (k == "symlink") return told(::symlink(((op.seed % 3 == 0 ? "../n" : "n") + std::to_string(op.seed % 6)).c_str(), p.c_str()));
  if (k == "readlink") {
    char target[256];
    ssize_t got = ::readlink(p.c_str(), target, sizeof target);
    return got < 0 ? told(got) : std::string(target, static_cast<std::size_t>(got));
  }
  if (k == "link") return told(::link(p.c_str(), q.c_str()));
  if (k == "rename") return told(::rename(p.c_str(), q.c_str()));
  if (k == "noreplace") return told(::renameat2(AT_FDCWD, p.c_str(), AT_FDCWD, q.c_str(), RENAME_NOREPLACE));
  if (k == "exchange") return told(::renameat2(AT_FDCWD, p.c_str(), AT_FDCWD, q.c_str(), RENAME_EXCHANGE));
  if (k == "chmod") return told(::chmod(p.c_str(), 0700 | (op.seed & 07077)));
  if (k == "chown") return told(::geteuid() == 0 ? ::lchown(p.c_str(), static_cast<uid_t>(op.seed % 3), static_cast<gid_t>(op.seed / 3 % 3)) : 0);
  if (k == "utimens") {
    timespec times[2] = {{static_cast<time_t>(op.seed), static_cast<long>(op.offset)}, {static_cast<time_t>(op.seed * 3), static_cast<long>(op.length)}};
    std::string result = told(::utimensat(AT_FDCWD, p.c_str(), times, AT_SYMLINK_NOFOLLOW));
    struct stat s;
    if (::lstat(p.c_str(), &s) == 0) result += " " + std::to_string(s.st_mtim.tv_sec) + "." + std::to_string(s.st_mtim.tv_nsec);
    return result;
  }
  const std::string attribute = "user.x" + std::to_string(op.b % 3);
  if (k == "setxattr") {
    std::string value = bytes_of(op.seed, op.length % 200);
    static const int modes[] = {0, 0, XATTR_CREATE, XATTR_REPLACE};
    return told(::lsetxattr(p.c_str(), attribute.c_str(), value.data(), value.size(), modes[op.seed % 4]));
  }
  if (k == "getxattr") {
    char value[256];
    ssize_t got = ::lgetxattr(p.c_str(), attribute.c_str(), value, sizeof value);
    return got < 0 ? told(got) : hash({value, static_cast<std::size_t>(got)});
  }
  if (k == "listxattr") return xattrs(p);
  if (k == "removexattr") return told(::lremovexattr(p.c_str(), attribute.c_str()));
  if (k == "punch") return told(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length));
  if (k == "zero") return told(::fallocate(fd, FALLOC_FL_ZERO_RANGE | (op.seed % 2 == 0 ? FALLOC_FL_KEEP_SIZE : 0), offset, length));
  if (k == "allocate") return told(::fallocate(fd, op.seed % 2 == 0 ? FALLOC_FL_KEEP_SIZE : 0, offset, length));
  if (k == "copy") {
    off_t from = offset, to = static_cast<off_t>(op.seed % file_bytes_most);
    std::uint64_t left = op.length, total = 0;
    while (left > 0) {
      ssize_t got = ::copy_file_range(fd, &from, other, &to, left, 0);
      if (got < 0) return total == 0 ? told(got) : std::to_string(total) + " then " + told(got);
      if (got == 0) break;
      total += static_cast<std::uint64_t>(got);
      left -= static_cast<std::uint64_t>(got);
    }
    return std::to_string(total);
  }
  if (k == "map") {
    unmap(map);
    struct stat s;
    if (other < 0 || ::fstat(other, &s) != 0) return "no handle";
    if (!S_ISREG(s.st_mode) || s.st_size == 0) return "nothing to map";
    std::size_t size = static_cast<std::size_t>(s.st_size);
    void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);
    if (at == MAP_FAILED) return told(-1);
    map = {static_cast<char*>(at), size, ::dup(other)};
    return "mapped " + std::to_string(size);
  }
  if (k == "mapwrite" || k == "mapread") {
    // Never behind the end of the file: that would be SIGBUS, or bytes that POSIX leaves open.
    struct stat s;
    if (map.at == nullptr || ::fstat(map.fd, &s) != 0) return "no map";
    std::size_t size = std::min<std::size_t>(map.length, static_cast<std::size_t>(s.st_size));
    if (op.offset >= size) return "beyond the map";
    std::size_t many = std::min<std::size_t>(op.length, size - op.offset);
    if (k == "mapread") return hash({map.at + op.offset, many});
    std::string bytes = bytes_of(op.seed, many);
    std::memcpy(map.at + op.offset, bytes.data(), many);
    return op.seed % 4 == 0 ? told(::msync(map.at, map.length, MS_SYNC)) : "copied";
  }
  if (k == "unmap") return unmap(map), "unmapped";
  if (k == "fsync") return told(op.seed % 2 == 0 ? ::fsync(fd) : ::fdatasync(fd));
  if (k == "syncfolder") {
    const int folder = ::open(p.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return told(-1);
    const std::string result = told(::fsync(folder));
    ::close(folder);
    return result;
  }
  if (k == "dropped") {  // clean pages leave the cache, so that reads ask the file system
    if (fd >= 0) ::fsync(fd);
    return fd < 0 ? "no handle" : std::to_string(::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
  }
  if (k == "stat") {
    struct stat s;
    int result = op.seed % 2 == 0 ? ::lstat(p.c_str(), &s) : ::stat(p.c_str(), &s);
    return result != 0 ? told(result) : attributes(s);
  }
  if (k == "list") {
    DIR* d = ::opendir(p.c_str());
    if (d == nullptr) return told(-1);
    std::vector<std::string> names;
    while (const dirent* e = ::readdir(d)) names.push_back(e->d_name);
    ::closedir(d);
    std::sort(names.begin(), names.end());
    std::string text;
    for (const std::string& name : names) text += name + " ";
    return text;
  }
  if (k == "flock") {
    static const int kinds[] = {LOCK_SH, LOCK_EX, LOCK_UN};
    return told(::flock(fd, kinds[op.seed % 3] | LOCK_NB));
  }
  if (k == "lock") {
    static const short kinds[] = {F_RDLCK, F_WRLCK, F_UNLCK};
    struct flock lock {};
    lock.l_type = kinds[op.seed % 3];
    lock.l_start = offset;
    lock.l_len = length;
    return told(::fcntl(fd, F_OFD_SETLK, &lock));
  }
  if (k == "data") {  // where holes begin is the file system's choice; that data is never called a hole is not
    struct stat s;
    if (fd < 0 || ::fstat(fd, &s) != 0 || !S_ISREG(s.st_mode)) return "no file";
    off_t hole = ::lseek(fd, offset, SEEK_HOLE);
    if (hole < 0) return told(-1);
    if (hole >= s.st_size || ::fcntl(fd, F_GETFL) % 4 == O_WRONLY) return "asked";
    off_t data = ::lseek(fd, hole, SEEK_DATA);
    off_t end = data < 0 ? s.st_size : data;
    std::string bytes(static_cast<std::size_t>(end - hole), '\0');
    ssize_t got = ::pread(fd, bytes.data(), bytes.size(), hole);
    return got == end - hole && bytes.find_first_not_of('\0') == std::string::npos ? "asked" : "a hole that holds data";
  }
  return "unknown operation " + k;
}

std::vector<std::string> Side::describe() {
  std::vector<std::string> lines;
  std::map<ino_t, std::string> first;
  std::function<void(const std::string&)> visit = [&](const std::string& inside) {
    DIR* d = ::opendir((root_ + inside).c_str());
    if (d == nullptr) {
      lines.push_back(inside + " cannot be listed: " + strerrorname_np(errno));
      return;
    }
    std::vector<std::string> names;
    while (const dirent* e = ::readdir(d)) names.push_back(e->d_name);
    ::closedir(d);
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      if (name == "." || name == "..") continue;
      const std::string entry = inside + "/" + name, full = root_ + entry;
      struct stat s;
      if (::lstat(full.c_str(), &s) != 0) {
        lines.push_back(entry + " " + strerrorname_np(errno));
        continue;
      }
      std::string line = entry + " " + attributes(s) + xattrs(full);
      if (S_ISREG(s.st_mode)) {
        int fd = ::open(full.c_str(), O_RDONLY | O_CLOEXEC);
        line += fd < 0 ? std::string(" ") + strerrorname_np(errno) : " " + contents(fd, static_cast<std::uint64_t>(s.st_size));
        if (fd >= 0) ::close(fd);
        auto [it, fresh] = first.emplace(s.st_ino, entry);
        if (!fresh) line += " same as " + it->second;
      } else if (S_ISLNK(s.st_mode)) {
        char target[256];
        ssize_t got = ::readlink(full.c_str(), target, sizeof target);
        line += " -> " + std::string(target, got < 0 ? 0 : static_cast<std::size_t>(got));
      }
      lines.push_back(line);
      if (S_ISDIR(s.st_mode)) visit(entry);
    }
  };
  visit("");
  for (unsigned i = 0; i < slots; ++i) {
    struct stat s;
    if (fd_[i] < 0 || ::fstat(fd_[i], &s) != 0) continue;
    std::string line = "handle " + std::to_string(i) + " " + attributes(s);
    // What has a name is read by it; one handle in four is read all the same.
    const bool read = S_ISREG(s.st_mode) && (::fcntl(fd_[i], F_GETFL) & O_ACCMODE) != O_WRONLY && (s.st_nlink == 0 || i % 4 == 0);
    if (read) line += " " + contents(fd_[i], static_cast<std::uint64_t>(s.st_size));
    lines.push_back(line);
  }
  return lines;
}

}  // namespace model
