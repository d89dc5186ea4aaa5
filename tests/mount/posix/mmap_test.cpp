#include <sys/mman.h>

#include "tests/mount/posix/support.h"

using namespace mount_test;

namespace {
/// A mapping that unmaps itself.
struct Map {
  char* at;
  std::size_t length;
  Map(int fd, std::size_t size, int protection, int flags, off_t offset = 0)
      : at(static_cast<char*>(mmap(nullptr, size, protection, flags, fd, offset))), length(size) {
    if (at == MAP_FAILED) FAIL("mmap: " << error_name(errno));
  }
  ~Map() { munmap(at, length); }
  Map(const Map&) = delete;
  Map& operator=(const Map&) = delete;
  std::string_view text(std::size_t offset, std::size_t size) const { return {at + offset, size}; }
};
}  // namespace

TEST_CASE("A shared mapping and write() show each other's bytes") {
  Here here;
  std::string bytes = pattern(1 << 20, 1);
  Fd fd(open("file", O_RDWR | O_CREAT, 0644));
  REQUIRE(write_at(fd, bytes, 0));
  Map map(fd, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED);
  CHECK((map.text(0, 1 << 20) == bytes));
  REQUIRE(write_at(fd, "by write", 500'000));
  CHECK(map.text(500'000, 8) == "by write");
  std::memcpy(map.at + 700'000, "by memory", 9);
  CHECK(read_at(fd, 9, 700'000) == "by memory");
  REQUIRE_OK(msync(map.at, map.length, MS_SYNC));
  CHECK(read_at(fd, 9, 700'000) == "by memory");
  Map second(fd, 1 << 20, PROT_READ, MAP_SHARED);
  std::memcpy(map.at, "seen", 4);
  CHECK(second.text(0, 4) == "seen");
}

TEST_CASE("What a shared mapping wrote is in the file after it is unmapped and closed") {
  Here here;
  {
    Fd fd(open("file", O_RDWR | O_CREAT, 0644));
    REQUIRE_OK(ftruncate(fd, 300'000));
    Map map(fd, 300'000, PROT_READ | PROT_WRITE, MAP_SHARED);
    // The descriptor may go first; the mapping keeps the file.
    REQUIRE_OK(fd.close());
    for (std::size_t i = 0; i < 300'000; i += 1000) map.at[i] = static_cast<char>('A' + i / 1000 % 26);
  }
  std::string seen = read_file("file");
  REQUIRE(seen.size() == 300'000);
  bool right = true;
  for (std::size_t i = 0; i < 300'000; ++i) {
    right = right && seen[i] == (i % 1000 == 0 ? static_cast<char>('A' + i / 1000 % 26) : '\0');
  }
  CHECK(right);
}

TEST_CASE("A private mapping keeps its changes to itself") {
  Here here;
  write_file("file", "original");
  Fd fd(open("file", O_RDONLY));
  Map map(fd, 8, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  std::memcpy(map.at, "CHANGED!", 8);
  CHECK(read_file("file") == "original");
  CHECK(map.text(0, 8) == "CHANGED!");
  CHECK(mmap(nullptr, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
  CHECK(error_name(errno) == "EACCES");
}

TEST_CASE("A mapping shows zeros between the end of the file and the end of its last page, and SIGBUS follows") {
  Here here;
  write_file("file", "abc");
  Fd fd(open("file", O_RDWR));
  Map map(fd, 8192, PROT_READ | PROT_WRITE, MAP_SHARED);
  CHECK(map.text(0, 3) == "abc");
  CHECK(map.text(3, 4093) == std::string(4093, '\0'));
  CHECK(in_child([&] { return map.at[5000] == 0 ? 0 : 1; }) == "signal 7");
  REQUIRE_OK(ftruncate(fd, 6000));
  CHECK(read_file("file") == "abc" + std::string(5997, '\0'));
  CHECK(map.at[5000] == 0);
  REQUIRE_OK(ftruncate(fd, 0));
  CHECK(in_child([&] { return map.at[0] == 0 ? 0 : 1; }) == "signal 7");
}

TEST_CASE("What a mapping wrote behind the end of the file is not in the file") {
  Here here;
  write_file("file", "abc");
  Fd fd(open("file", O_RDWR));
  {
    Map map(fd, 4096, PROT_READ | PROT_WRITE, MAP_SHARED);
    map.at[10] = 'x';
    REQUIRE_OK(msync(map.at, 4096, MS_SYNC));
  }
  CHECK(stat_of(fd).st_size == 3);
  // The page in memory may keep the byte (POSIX leaves that open); what was stored may not.
  REQUIRE_OK(fsync(fd));
  REQUIRE_OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
  REQUIRE_OK(ftruncate(fd, 6000));
  CHECK(read_file("file") == "abc" + std::string(5997, '\0'));
}

TEST_CASE("A mapped file that is unlinked stays whole") {
  Here here;
  std::string bytes = pattern(100'000, 2);
  write_file("file", bytes);
  Fd fd(open("file", O_RDWR));
  Map map(fd, 100'000, PROT_READ | PROT_WRITE, MAP_SHARED);
  REQUIRE_OK(unlink("file"));
  REQUIRE_OK(fd.close());
  CHECK((map.text(0, 100'000) == bytes));
  map.at[99'999] = '!';
  REQUIRE_OK(msync(map.at, map.length, MS_SYNC));
  CHECK(map.at[99'999] == '!');
}

TEST_CASE("Two processes share a mapping") {
  Here here;
  write_file("file", std::string(4096, '\0'));
  Fd fd(open("file", O_RDWR));
  Map map(fd, 4096, PROT_READ | PROT_WRITE, MAP_SHARED);
  CHECK(in_child([&] {
          int own = open("file", O_RDWR);
          char* at = static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0));
          if (at == MAP_FAILED) return -1;
          at[100] = 'c';
          return 0;
        }) == "ok");
  CHECK(map.at[100] == 'c');
}

TEST_CASE("A program on the mount can be run, and is busy while it runs") {
  Here here;
  std::string shell = read_file("/bin/sleep");
  write_file("program", shell, 0755);
  pid_t pid = fork();
  if (pid == 0) {
    execl("./program", "program", "100", nullptr);
    _exit(127);
  }
  // The child has replaced itself once /proc says so.
  std::string target(256, '\0');
  for (int i = 0; i < 5000; ++i) {
    ssize_t got = readlink(("/proc/" + std::to_string(pid) + "/exe").c_str(), target.data(), target.size());
    if (got > 8 && std::string_view(target.data(), static_cast<std::size_t>(got)).substr(static_cast<std::size_t>(got) - 7) == "program") break;
    let_clock_move();
  }
  CHECK_ERROR(open("program", O_WRONLY), ETXTBSY);
  CHECK_OK(unlink("program"));
  CHECK(waitpid(pid, nullptr, WNOHANG) == 0);
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

TEST_CASE("Writing to a file from its own mapping works") {
  Here here;
  std::string bytes = pattern(200'000, 3);
  write_file("file", bytes);
  Fd fd(open("file", O_RDWR));
  Map map(fd, 200'000, PROT_READ, MAP_SHARED);
  REQUIRE(pwrite(fd, map.at, 100'000, 200'000) == 100'000);
  CHECK((read_at(fd, 100'000, 200'000) == bytes.substr(0, 100'000)));
}
