// Files for the scripts, made and checked without a shell loop's cost.
//
//   mount_files create DIRECTORY COUNT BYTES    COUNT files of BYTES bytes, a thousand a folder
//   mount_files remove DIRECTORY COUNT          the same files away, and their folders
//   mount_files count DIRECTORY COUNT           exits 1 unless each of them can be seen
//   mount_files write FILE BYTES SEED           one file of bytes that follow from the seed; fsync at the end
//   mount_files check FILE BYTES SEED           exits 1 and says where if it differs
//   mount_files overwrite FILE BYTES TIMES      the same file again and again, in place, fsync after each
//   mount_files tree DIRECTORY COUNT SEED       a tree of COUNT files of mixed sizes, some sparse, some linked
//   mount_files read FILE                       reads all; prints "ok", or the error's name and the milliseconds it took
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr std::size_t block = 1 << 20;

[[noreturn]] void die(const std::string& what) {
  std::printf("%s: %s\n", what.c_str(), strerrorname_np(errno));
  std::exit(1);
}

void fill(std::vector<char>& out, std::uint64_t seed, std::uint64_t index) {
  std::uint64_t x = (seed + 1) * 0x9e3779b97f4a7c15ull + index * 0xbf58476d1ce4e5b9ull + 1;
  for (std::size_t at = 0; at + 8 <= out.size(); at += 8) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    std::memcpy(out.data() + at, &x, 8);
  }
}

void write_all(int fd, const char* from, std::size_t length, const std::string& path) {
  while (length > 0) {
    ssize_t put = write(fd, from, length);
    if (put < 0) die("writing " + path);
    from += put;
    length -= static_cast<std::size_t>(put);
  }
}

void write_pattern(int fd, std::uint64_t bytes, std::uint64_t seed, const std::string& path) {
  std::vector<char> buffer(block);
  for (std::uint64_t at = 0; at < bytes; at += block) {
    fill(buffer, seed, at / block);
    write_all(fd, buffer.data(), static_cast<std::size_t>(std::min<std::uint64_t>(block, bytes - at)), path);
  }
}

int open_or_die(const std::string& path, int flags) {
  int fd = open(path.c_str(), flags, 0644);
  if (fd < 0) die("opening " + path);
  return fd;
}

void sync_and_close(int fd, const std::string& path) {
  if (fsync(fd) != 0) die("fsync " + path);
  if (close(fd) != 0) die("close " + path);
}

std::string folder_of(const std::string& directory, std::uint64_t i) { return directory + "/" + std::to_string(i / 1000); }
std::string file_of(const std::string& directory, std::uint64_t i) { return folder_of(directory, i) + "/file-" + std::to_string(i); }

int create(const std::string& directory, std::uint64_t count, std::uint64_t bytes) {
  if (mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) die("mkdir " + directory);
  for (std::uint64_t i = 0; i < count; ++i) {
    if (i % 1000 == 0 && mkdir(folder_of(directory, i).c_str(), 0755) != 0 && errno != EEXIST) die("mkdir " + folder_of(directory, i));
    const std::string path = file_of(directory, i);
    int fd = open_or_die(path, O_WRONLY | O_CREAT | O_EXCL);
    if (bytes > 0) write_pattern(fd, bytes, i, path);
    if (close(fd) != 0) die("close " + path);
  }
  return 0;
}

int remove_all(const std::string& directory, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    if (unlink(file_of(directory, i).c_str()) != 0) die("unlink " + file_of(directory, i));
    if ((i % 1000 == 999 || i + 1 == count) && rmdir(folder_of(directory, i).c_str()) != 0) die("rmdir " + folder_of(directory, i));
  }
  return rmdir(directory.c_str()) == 0 ? 0 : (die("rmdir " + directory), 1);
}

int count_all(const std::string& directory, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    struct stat s;
    if (stat(file_of(directory, i).c_str(), &s) != 0) die("stat " + file_of(directory, i));
  }
  return 0;
}

int write_file(const std::string& path, std::uint64_t bytes, std::uint64_t seed) {
  int fd = open_or_die(path, O_WRONLY | O_CREAT | O_TRUNC);
  write_pattern(fd, bytes, seed, path);
  sync_and_close(fd, path);
  return 0;
}

int check_file(const std::string& path, std::uint64_t bytes, std::uint64_t seed) {
  int fd = open_or_die(path, O_RDONLY);
  std::vector<char> expected(block), found(block);
  for (std::uint64_t at = 0; at < bytes;) {
    std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(block, bytes - at)), have = 0;
    while (have < want) {
      ssize_t got = read(fd, found.data() + have, want - have);
      if (got < 0) die("reading " + path + " at " + std::to_string(at + have));
      if (got == 0) break;
      have += static_cast<std::size_t>(got);
    }
    fill(expected, seed, at / block);
    if (have < want || std::memcmp(expected.data(), found.data(), want) != 0) {
      std::size_t i = 0;
      while (i < have && expected[i] == found[i]) ++i;
      std::printf("%s differs at byte %llu of %llu\n", path.c_str(), static_cast<unsigned long long>(at + i), static_cast<unsigned long long>(bytes));
      return 1;
    }
    at += want;
  }
  char more;
  if (read(fd, &more, 1) != 0) {
    std::printf("%s is longer than %llu bytes\n", path.c_str(), static_cast<unsigned long long>(bytes));
    return 1;
  }
  close(fd);
  return 0;
}

int overwrite(const std::string& path, std::uint64_t bytes, std::uint64_t times) {
  int fd = open_or_die(path, O_WRONLY | O_CREAT);
  for (std::uint64_t i = 0; i < times; ++i) {
    if (lseek(fd, 0, SEEK_SET) != 0) die("lseek");
    write_pattern(fd, bytes, i, path);
    if (fsync(fd) != 0) die("fsync " + path);
  }
  close(fd);
  return 0;
}

int make_tree(const std::string& directory, std::uint64_t count, std::uint64_t seed) {
  if (mkdir(directory.c_str(), 0755) != 0) die("mkdir " + directory);
  std::uint64_t x = seed * 2 + 1;
  for (std::uint64_t i = 0; i < count; ++i) {
    x = x * 6364136223846793005ull + 1442695040888963407ull;
    const std::string folder = directory + "/d" + std::to_string(i % 7);
    if (i < 7 && mkdir(folder.c_str(), 0755) != 0) die("mkdir " + folder);
    const std::string path = folder + "/f" + std::to_string(i);
    // Most are small, some middling, one in thirty large.
    std::uint64_t r = x >> 33, bytes = i % 30 == 7 ? r % 3'000'000 : i % 5 == 1 ? r % 300'000 : r % 9000;
    int fd = open_or_die(path, O_WRONLY | O_CREAT | O_EXCL);
    if (i % 11 == 3 && lseek(fd, static_cast<off_t>(r % 10'000'000), SEEK_SET) < 0) die("lseek");
    write_pattern(fd, bytes, i + seed, path);
    if (i % 13 == 5 && ftruncate(fd, static_cast<off_t>(bytes + r % 50'000)) != 0) die("ftruncate " + path);
    if (close(fd) != 0) die("close " + path);
    if (i % 17 == 2 && link(path.c_str(), (path + ".link").c_str()) != 0) die("link " + path);
    if (i % 19 == 4 && symlink(("f" + std::to_string(i)).c_str(), (path + ".symlink").c_str()) != 0) die("symlink " + path);
  }
  return 0;
}

int read_all(const std::string& path) {
  auto now = [] {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1'000'000;
  };
  const auto begin = now();
  const char* result = "ok";
  int fd = open(path.c_str(), O_RDONLY);
  if (fd < 0) result = strerrorname_np(errno);
  std::vector<char> buffer(block);
  while (fd >= 0) {
    ssize_t got = read(fd, buffer.data(), buffer.size());
    if (got < 0) result = strerrorname_np(errno);
    if (got <= 0) break;
  }
  std::printf("%s %ld\n", result, now() - begin);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "", path = argc > 2 ? argv[2] : "";
  const std::uint64_t a = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 0, b = argc > 4 ? std::strtoull(argv[4], nullptr, 10) : 0;
  if (command == "create" && argc == 5) return create(path, a, b);
  if (command == "remove" && argc == 4) return remove_all(path, a);
  if (command == "count" && argc == 4) return count_all(path, a);
  if (command == "write" && argc == 5) return write_file(path, a, b);
  if (command == "check" && argc == 5) return check_file(path, a, b);
  if (command == "overwrite" && argc == 5) return overwrite(path, a, b);
  if (command == "tree" && argc == 5) return make_tree(path, a, b);
  if (command == "read" && argc == 3) return read_all(path);
  std::fprintf(stderr, "usage: %s create|remove|count|write|check|overwrite|tree|read PATH ... (see files.cpp)\n", argv[0]);
  return 2;
}
