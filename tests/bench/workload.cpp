// Does one piece of file system work and prints how long it took: `SECONDS OPERATIONS BYTES` on one line.
//
// A program rather than shell loops, which would measure fork and exec. It speaks to the kernel directly, so that no
// library buffers in between, and ends with exit status 1 and a sentence on the first call that fails. What is read is
// compared with what had been written, outside of the timed part where that costs anything.
//
//   bench_workload write FILE BYTES            sequential, 1 MiB a call, the clock stops after fsync
//   bench_workload rewrite FILE OPS SYNC       4 KiB at random places, fsync after each SYNC (0: once, at the end)
//   bench_workload read FILE                   sequential, 128 KiB a call
//   bench_workload random-read FILE OPS        4 KiB at random places
//   bench_workload cold-reads FILE OPS         128 KiB each, no place twice, in random order; SECONDS is what 99 of 100 keep to
//   bench_workload create DIR COUNT            create, write 4 KiB, close
//   bench_workload create-fsync DIR COUNT      create, write 4 KiB, fsync, close
//   bench_workload stat|read-files|rename|unlink DIR COUNT
//   bench_workload list DIR                    what ls -l does: read the directory, lstat each entry
//   bench_workload touch DIR COUNT             COUNT empty files in folders of 10,000 each
//   bench_workload look-up DIR COUNT OPS       stat of OPS of those, scattered, none twice
//   bench_workload list-some DIR COUNT         `list` of ten of those folders at most, evenly spread
//   bench_workload evict DIR                   asks the kernel to drop the cached pages of all files below DIR
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace {

constexpr std::size_t block_bytes = 1 << 20;
constexpr std::size_t small_bytes = 4096;

struct Work {
  std::uint64_t operations = 0;
  std::uint64_t bytes = 0;
};

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "bench_workload: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

void require(bool holds, const std::string& what) {
  if (!holds) die(what);
}

/// An open file of this program.
class File {
 public:
  File(const std::string& path, int flags) : path_(path), fd_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {
    require(fd_ >= 0, "open " + path);
  }
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  void write(const void* data, std::size_t size) {
    require(::write(fd_, data, size) == static_cast<ssize_t>(size), "write " + path_);
  }
  void write_at(const void* data, std::size_t size, std::uint64_t at) {
    require(::pwrite(fd_, data, size, static_cast<off_t>(at)) == static_cast<ssize_t>(size), "write " + path_);
  }
  std::size_t read(void* data, std::size_t size) {
    const ssize_t n = ::read(fd_, data, size);
    require(n >= 0, "read " + path_);
    return static_cast<std::size_t>(n);
  }
  void read_at(void* data, std::size_t size, std::uint64_t at) {
    require(::pread(fd_, data, size, static_cast<off_t>(at)) == static_cast<ssize_t>(size), "read " + path_);
  }
  void sync() { require(::fsync(fd_) == 0, "fsync " + path_); }
  std::uint64_t size() const {
    struct stat info {};
    require(::fstat(fd_, &info) == 0, "fstat " + path_);
    return static_cast<std::uint64_t>(info.st_size);
  }
  void read_at_random() { ::posix_fadvise(fd_, 0, 0, POSIX_FADV_RANDOM); }
  void evict() { ::posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED); }
  void close() {
    const int fd = fd_;
    fd_ = -1;
    require(::close(fd) == 0, "close " + path_);
  }

 private:
  std::string path_;
  int fd_;
};

/// Bytes that no compression shrinks. Every block starts with its own number, so that a misplaced one is noticed.
std::vector<std::uint8_t> noise(std::size_t size) {
  std::vector<std::uint8_t> bytes(size);
  std::mt19937_64 random(42);
  for (std::size_t i = 0; i + 8 <= size; i += 8) {
    const std::uint64_t word = random();
    std::memcpy(bytes.data() + i, &word, 8);
  }
  return bytes;
}

void number(std::vector<std::uint8_t>& bytes, std::uint64_t n) { std::memcpy(bytes.data(), &n, sizeof n); }

Work write(const std::string& path, std::uint64_t total) {
  auto block = noise(block_bytes);
  File file(path, O_WRONLY | O_CREAT | O_TRUNC);
  for (std::uint64_t at = 0; at < total; at += block_bytes) {
    number(block, at);
    file.write(block.data(), static_cast<std::size_t>(std::min<std::uint64_t>(block_bytes, total - at)));
  }
  file.sync();
  file.close();
  return {1, total};
}

Work read(const std::string& path) {
  std::vector<std::uint8_t> buffer(128 << 10);
  File file(path, O_RDONLY);
  Work work{1, 0};
  while (const std::size_t n = file.read(buffer.data(), buffer.size())) {
    if (work.bytes % block_bytes == 0) {
      std::uint64_t found = 0;
      std::memcpy(&found, buffer.data(), sizeof found);
      errno = EBADMSG;
      require(found == work.bytes, "wrong bytes in " + path + " at " + std::to_string(work.bytes));
    }
    work.bytes += n;
  }
  return work;
}

Work random_read(const std::string& path, std::uint64_t count) {
  std::vector<std::uint8_t> buffer(small_bytes);
  File file(path, O_RDONLY);
  const std::uint64_t blocks = file.size() / small_bytes;
  std::mt19937_64 random(7);
  for (std::uint64_t i = 0; i < count; ++i) file.read_at(buffer.data(), small_bytes, random() % blocks * small_bytes);
  return {count, count * small_bytes};
}

/// Of the calls, not of all together: see the head of this file.
std::optional<double> seconds_instead;

Work cold_reads(const std::string& path, std::uint64_t count) {
  constexpr std::size_t read_bytes = 128 << 10;
  std::vector<std::uint8_t> buffer(read_bytes);
  File file(path, O_RDONLY);
  file.read_at_random();
  std::vector<std::uint64_t> places(file.size() / read_bytes);
  errno = EINVAL;
  require(count > 0 && places.size() >= count, path + " is too short for so many reads");
  for (std::uint64_t i = 0; i < places.size(); ++i) places[i] = i * read_bytes;
  std::mt19937_64 random(13);
  std::shuffle(places.begin(), places.end(), random);
  std::vector<double> took;
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    file.read_at(buffer.data(), read_bytes, places[i]);
    took.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    if (places[i] % block_bytes != 0) continue;
    std::uint64_t found = 0;
    std::memcpy(&found, buffer.data(), sizeof found);
    errno = EBADMSG;
    require(found == places[i], "wrong bytes in " + path + " at " + std::to_string(places[i]));
  }
  std::sort(took.begin(), took.end());
  seconds_instead = took[std::min(took.size() - 1, took.size() * 99 / 100)];
  return {count, count * read_bytes};
}

Work rewrite(const std::string& path, std::uint64_t count, std::uint64_t sync_each) {
  const auto block = noise(small_bytes);
  File file(path, O_WRONLY);
  const std::uint64_t blocks = file.size() / small_bytes;
  std::mt19937_64 random(11);
  for (std::uint64_t i = 0; i < count; ++i) {
    file.write_at(block.data(), small_bytes, random() % blocks * small_bytes);
    if (sync_each != 0 && (i + 1) % sync_each == 0) file.sync();
  }
  file.sync();
  file.close();
  return {count, count * small_bytes};
}

std::string name(const std::string& directory, std::uint64_t i, const char* prefix = "file-") {
  return directory + "/" + prefix + std::to_string(i);
}

Work create(const std::string& directory, std::uint64_t count, bool sync) {
  auto block = noise(small_bytes);
  for (std::uint64_t i = 0; i < count; ++i) {
    number(block, i);
    File file(name(directory, i), O_WRONLY | O_CREAT | O_EXCL);
    file.write(block.data(), block.size());
    if (sync) file.sync();
    file.close();
  }
  return {count, count * small_bytes};
}

Work stat_each(const std::string& directory, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    struct stat info {};
    const auto path = name(directory, i);
    require(::stat(path.c_str(), &info) == 0 && info.st_size == small_bytes, "stat " + path);
  }
  return {count, 0};
}

Work read_files(const std::string& directory, std::uint64_t count) {
  std::vector<std::uint8_t> buffer(2 * small_bytes);
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto path = name(directory, i);
    File file(path, O_RDONLY);
    const std::size_t n = file.read(buffer.data(), buffer.size());
    std::uint64_t found = 0;
    std::memcpy(&found, buffer.data(), sizeof found);
    errno = EBADMSG;
    require(n == small_bytes && found == i, "wrong bytes in " + path);
  }
  return {count, count * small_bytes};
}

Work rename_each(const std::string& directory, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto from = name(directory, i);
    require(::rename(from.c_str(), name(directory, i, "renamed-").c_str()) == 0, "rename " + from);
  }
  return {count, 0};
}

Work unlink_each(const std::string& directory, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto path = name(directory, i, "renamed-");
    require(::unlink(path.c_str()) == 0, "unlink " + path);
  }
  return {count, 0};
}

Work list(const std::string& directory) {
  DIR* stream = ::opendir(directory.c_str());
  require(stream != nullptr, "opendir " + directory);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(stream)) names.emplace_back(entry->d_name);
  Work work;
  for (const auto& entry : names) {
    struct stat info {};
    require(::fstatat(::dirfd(stream), entry.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0, "lstat " + entry);
    ++work.operations;
  }
  ::closedir(stream);
  return work;
}

constexpr std::uint64_t files_a_folder = 10'000;

std::string folder_of(const std::string& directory, std::uint64_t i) { return name(directory, i / files_a_folder, "folder-"); }

Work touch(const std::string& directory, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto folder = folder_of(directory, i);
    if (i % files_a_folder == 0) require(::mkdir(folder.c_str(), 0755) == 0, "mkdir " + folder);
    File(name(folder, i), O_WRONLY | O_CREAT | O_EXCL).close();
  }
  return {count, 0};
}

Work look_up(const std::string& directory, std::uint64_t count, std::uint64_t operations) {
  // No name twice: the kernel would answer the second time.
  operations = std::min(operations, count);
  auto step = static_cast<std::uint64_t>(0.618 * static_cast<double>(count));
  while (std::gcd(step, count) != 1) ++step;
  for (std::uint64_t done = 0; done < operations; ++done) {
    const std::uint64_t i = done * step % count;
    const auto path = name(folder_of(directory, i), i);
    struct stat info {};
    require(::stat(path.c_str(), &info) == 0, "stat " + path);
  }
  return {operations, 0};
}

Work list_some(const std::string& directory, std::uint64_t count) {
  const std::uint64_t folders = (count + files_a_folder - 1) / files_a_folder;
  const std::uint64_t step = (folders + 9) / 10;
  Work work;
  for (std::uint64_t folder = 0; folder < folders; folder += step)
    work.operations += list(folder_of(directory, folder * files_a_folder)).operations;
  return work;
}

Work evict(const std::string& directory) {
  Work work;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file()) continue;
    File file(entry.path().string(), O_RDONLY);
    file.sync();
    file.evict();
    ++work.operations;
  }
  return work;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto path = [&] { return arguments.at(1); };
  const auto count = [&](std::size_t i = 2) { return std::stoull(arguments.at(i)); };
  const std::map<std::string, std::function<Work()>> all = {
      {"write", [&] { return write(path(), count()); }},
      {"rewrite", [&] { return rewrite(path(), count(), count(3)); }},
      {"read", [&] { return read(path()); }},
      {"random-read", [&] { return random_read(path(), count()); }},
      {"cold-reads", [&] { return cold_reads(path(), count()); }},
      {"create", [&] { return create(path(), count(), false); }},
      {"create-fsync", [&] { return create(path(), count(), true); }},
      {"stat", [&] { return stat_each(path(), count()); }},
      {"read-files", [&] { return read_files(path(), count()); }},
      {"rename", [&] { return rename_each(path(), count()); }},
      {"unlink", [&] { return unlink_each(path(), count()); }},
      {"list", [&] { return list(path()); }},
      {"touch", [&] { return touch(path(), count()); }},
      {"look-up", [&] { return look_up(path(), count(), count(3)); }},
      {"list-some", [&] { return list_some(path(), count()); }},
      {"evict", [&] { return evict(path()); }},
  };
  const auto found = arguments.size() < 2 ? all.end() : all.find(arguments[0]);
  if (found == all.end()) {
    std::fprintf(stderr, "usage: bench_workload WORK PATH [COUNT [SYNC]]; the head of its source says which\n");
    return 2;
  }
  try {
    const auto begin = std::chrono::steady_clock::now();
    const Work work = found->second();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    std::printf("%.6f %llu %llu\n", seconds_instead.value_or(seconds.count()), static_cast<unsigned long long>(work.operations),
                static_cast<unsigned long long>(work.bytes));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_workload: %s\n", error.what());
    return 2;
  }
  return 0;
}
