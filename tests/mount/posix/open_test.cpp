#include <sys/resource.h>
#include <sys/uio.h>

#include <cstdlib>

#include "tests/mount/posix/support.h"

using namespace mount_test;

TEST_CASE("Opening what does not exist fails unless it may be created") {
  Here here;
  CHECK_ERROR(open("none", O_RDONLY), ENOENT);
  CHECK_ERROR(open("none/file", O_RDWR | O_CREAT, 0644), ENOENT);
  CHECK_ERROR(open("", O_RDONLY), ENOENT);
  write_file("plain", "x");
  CHECK_ERROR(open("plain/file", O_RDONLY), ENOTDIR);
  CHECK_ERROR(open("plain/", O_RDONLY), ENOTDIR);
  CHECK_ERROR(open("plain", O_RDONLY | O_DIRECTORY), ENOTDIR);
  REQUIRE_OK(mkdir("dir", 0755));
  CHECK_ERROR(open("dir", O_WRONLY), EISDIR);
  CHECK_ERROR(open("dir", O_RDWR | O_CREAT, 0644), EISDIR);
  Fd fd(open("dir", O_RDONLY));
  char byte;
  CHECK_ERROR(read(fd, &byte, 1), EISDIR);
}

TEST_CASE("O_EXCL creates a file once, and does not follow links") {
  Here here;
  Fd first(open("file", O_WRONLY | O_CREAT | O_EXCL, 0600));
  CHECK(first.is_open());
  CHECK_ERROR(open("file", O_WRONLY | O_CREAT | O_EXCL, 0600), EEXIST);
  REQUIRE_OK(symlink("missing", "link"));
  CHECK_ERROR(open("link", O_WRONLY | O_CREAT | O_EXCL, 0600), EEXIST);
  CHECK_ERROR(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
  Fd through(open("link", O_WRONLY | O_CREAT, 0600));
  CHECK(through.is_open());
  CHECK(S_ISREG(stat_of("missing").st_mode));
}

TEST_CASE("Of many racing O_EXCL opens exactly one wins") {
  Here here;
  for (int round = 0; round < 20; ++round) {
    std::string name = "race" + std::to_string(round);
    int pipe_ends[2];
    REQUIRE_OK(pipe(pipe_ends));
    std::vector<pid_t> children;
    for (int i = 0; i < 4; ++i) {
      pid_t pid = fork();
      if (pid == 0) {
        int fd = open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0600);
        if (fd >= 0 && write(pipe_ends[1], "w", 1) != 1) _exit(1);
        _exit(0);
      }
      children.push_back(pid);
    }
    for (pid_t pid : children) waitpid(pid, nullptr, 0);
    close(pipe_ends[1]);
    char winners[8];
    CHECK(read(pipe_ends[0], winners, sizeof winners) == 1);
    close(pipe_ends[0]);
  }
}

TEST_CASE("O_APPEND writes at the end wherever the offset stands, also from several processes") {
  Here here;
  write_file("log", "start");
  Fd a(open("log", O_WRONLY | O_APPEND));
  Fd b(open("log", O_RDWR | O_APPEND));
  REQUIRE(write(a, "+a", 2) == 2);
  REQUIRE(write(b, "+b", 2) == 2);
  REQUIRE(lseek(a, 0, SEEK_SET) == 0);
  REQUIRE(write(a, "+c", 2) == 2);
  CHECK(lseek(a, 0, SEEK_CUR) == 11);
  CHECK(read_file("log") == "start+a+b+c");
  // Linux's pwrite on O_APPEND appends (its manual page's BUGS says so), and every Linux file system does.
  REQUIRE(pwrite(a, "+d", 2, 0) == 2);
  CHECK(read_file("log") == "start+a+b+c+d");

  write_file("many", "");
  std::vector<pid_t> children;
  for (char who = 'a'; who < 'd'; ++who) {
    pid_t pid = fork();
    if (pid == 0) {
      int fd = open("many", O_WRONLY | O_APPEND);
      std::string record(100, who);
      for (int i = 0; i < 200; ++i) {
        if (write(fd, record.data(), record.size()) != 100) _exit(1);
      }
      _exit(0);
    }
    children.push_back(pid);
  }
  for (pid_t pid : children) {
    int status = 0;
    waitpid(pid, &status, 0);
    CHECK(status == 0);
  }
  std::string all = read_file("many");
  REQUIRE(all.size() == 3 * 200 * 100);
  int whole[3] = {};
  for (std::size_t i = 0; i < all.size(); i += 100) {
    REQUIRE(all.substr(i, 100) == std::string(100, all[i]));
    whole[all[i] - 'a']++;
  }
  CHECK(whole[0] == 200);
  CHECK(whole[1] == 200);
  CHECK(whole[2] == 200);
}

TEST_CASE("O_APPEND can be turned on and off with fcntl") {
  Here here;
  write_file("log", "12345");
  Fd fd(open("log", O_RDWR));
  REQUIRE_OK(fcntl(fd, F_SETFL, O_APPEND));
  REQUIRE(write(fd, "6", 1) == 1);
  REQUIRE_OK(fcntl(fd, F_SETFL, 0));
  REQUIRE(pwrite(fd, "X", 1, 0) == 1);
  CHECK(read_file("log") == "X23456");
}

TEST_CASE("O_TRUNC empties a file for all who have it open") {
  Here here;
  write_file("file", pattern(10000, 1));
  Fd old(open("file", O_RDONLY));
  CHECK(read_at(old, 5, 0) == pattern(5, 1));
  Fd fresh(open("file", O_WRONLY | O_TRUNC));
  REQUIRE(fresh.is_open());
  CHECK(stat_of(old).st_size == 0);
  CHECK(read_at(old, 5, 0).empty());
  REQUIRE(write_at(fresh, "z", 3));
  CHECK(read_at(old, 9, 0) == std::string("\0\0\0z", 4));
}

TEST_CASE("O_DIRECT is accepted and sees what others wrote, and others see what it wrote") {
  Here here;
  const std::size_t size = 64 * 1024;
  std::string cached = pattern(size, 3), direct = pattern(size, 4);
  write_file("file", cached);
  Fd fd(open("file", O_RDWR | O_DIRECT));
  if (!on_fuse() && fd.error == EINVAL) return;  // a reference file system without O_DIRECT, such as an old tmpfs
  REQUIRE(fd.is_open());
  void* memory = nullptr;
  REQUIRE(posix_memalign(&memory, 4096, size) == 0);
  char* buffer = static_cast<char*>(memory);
  REQUIRE(pread(fd, buffer, size, 0) == static_cast<ssize_t>(size));
  CHECK(std::string_view(buffer, size) == cached);
  std::memcpy(buffer, direct.data(), size);
  REQUIRE(pwrite(fd, buffer, size, 0) == static_cast<ssize_t>(size));
  CHECK(read_file("file") == direct);
  REQUIRE(pwrite(fd, buffer, 4096, static_cast<off_t>(size)) == 4096);
  CHECK(stat_of("file").st_size == static_cast<off_t>(size) + 4096);
  CHECK(pread(fd, buffer, size, static_cast<off_t>(size)) == 4096);
  CHECK(pread(fd, buffer, size, static_cast<off_t>(size) * 2) == 0);
  std::free(memory);
}

TEST_CASE("O_SYNC, O_DSYNC and RWF_DSYNC writes succeed and read back") {
  Here here;
  for (int flag : {O_SYNC, O_DSYNC}) {
    Fd fd(open("file", O_RDWR | O_CREAT | flag, 0644));
    REQUIRE(fd.is_open());
    CHECK((fcntl(fd, F_GETFL) & flag) == flag);
    REQUIRE(write_at(fd, "synchronous", 0));
    CHECK(read_file("file") == "synchronous");
  }
  Fd fd(open("file", O_RDWR));
  char text[] = "RWF";
  iovec vector{text, 3};
  CHECK(pwritev2(fd, &vector, 1, 0, RWF_DSYNC) == 3);
  CHECK(read_file("file") == "RWFchronous");
  CHECK_OK(fsync(fd));
  CHECK_OK(fdatasync(fd));
  CHECK_OK(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER));
  CHECK_OK(syncfs(fd));
  Fd dir(open(".", O_RDONLY | O_DIRECTORY));
  CHECK_OK(fsync(dir));
  CHECK_OK(fdatasync(dir));
}

TEST_CASE("O_TMPFILE makes a file without a name that linkat can name") {
  Here here;
  Fd fd(open(".", O_TMPFILE | O_RDWR, 0640));
  if (!fd.is_open() && fd.error == EOPNOTSUPP && on_fuse()) {
    // FUSE_TMPFILE needs libfuse 3.17; EOPNOTSUPP is what the manual page has for file systems without it.
    skipped("O_TMPFILE is not offered by this libfuse (EOPNOTSUPP, as documented); programs fall back to a name");
    return;
  }
  REQUIRE(fd.is_open());
  CHECK(stat_of(fd).st_nlink == 0);
  REQUIRE(write_at(fd, "nameless", 0));
  CHECK(names_in(".").empty());
  REQUIRE_OK(linkat(AT_FDCWD, ("/proc/self/fd/" + std::to_string(fd)).c_str(), AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
  CHECK(stat_of(fd).st_nlink == 1);
  CHECK(read_file("named") == "nameless");
  CHECK(permissions(stat_of("named")) == 0640);
  Fd exclusive(open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600));
  REQUIRE(exclusive.is_open());
  CHECK_ERROR(linkat(AT_FDCWD, ("/proc/self/fd/" + std::to_string(exclusive)).c_str(), AT_FDCWD, "never", AT_SYMLINK_FOLLOW),
              ENOENT);
}

TEST_CASE("Access modes are kept: no reading from write-only, no writing to read-only descriptors") {
  Here here;
  write_file("file", "abc");
  Fd reader(open("file", O_RDONLY)), writer(open("file", O_WRONLY)), path(open("file", O_PATH));
  char byte = 0;
  CHECK_ERROR(write(reader, "x", 1), EBADF);
  CHECK_ERROR(read(writer, &byte, 1), EBADF);
  CHECK_ERROR(read(path, &byte, 1), EBADF);
  CHECK_ERROR(ftruncate(reader, 0), EINVAL);
  CHECK_OK(fstatat(path, "", std::vector<struct stat>(1).data(), AT_EMPTY_PATH));
  // Read-only creation gives a descriptor that cannot write, whatever the mode.
  Fd odd(open("odd", O_RDONLY | O_CREAT, 0222));
  CHECK(odd.is_open());
  CHECK_ERROR(write(odd, "x", 1), EBADF);
  // ... and a file made with no permissions at all can still be written through the descriptor that made it.
  CHECK((can_be_others() ? as_user(alice, [] {
          int fd = open("sealed", O_RDWR | O_CREAT | O_EXCL, 0000);
          return fd < 0 || write(fd, "x", 1) != 1 ? -1 : 0;
        }) : std::string("ok")) == "ok");
}

TEST_CASE("Positions: seeks, vectors and reads at and beyond the end") {
  Here here;
  Fd fd(open("file", O_RDWR | O_CREAT, 0644));
  char a[] = "hello ", b[] = "world";
  iovec out[2] = {{a, 6}, {b, 5}};
  REQUIRE(writev(fd, out, 2) == 11);
  CHECK(lseek(fd, 0, SEEK_CUR) == 11);
  CHECK(lseek(fd, -5, SEEK_END) == 6);
  char buffer[32];
  CHECK(read(fd, buffer, sizeof buffer) == 5);
  CHECK(read(fd, buffer, sizeof buffer) == 0);
  CHECK(pread(fd, buffer, sizeof buffer, 1 << 20) == 0);
  CHECK_ERROR(lseek(fd, -1, SEEK_SET), EINVAL);
  CHECK_ERROR(lseek(fd, 0, 99), EINVAL);
  CHECK_ERROR(pread(fd, buffer, 1, -1), EINVAL);
  CHECK_ERROR(pwrite(fd, buffer, 1, -1), EINVAL);
  CHECK(lseek(fd, 1 << 20, SEEK_SET) == 1 << 20);
  CHECK(stat_of(fd).st_size == 11);
  REQUIRE(write(fd, "!", 1) == 1);
  CHECK(stat_of(fd).st_size == (1 << 20) + 1);
  CHECK(read_at(fd, 4, 11) == std::string(4, '\0'));
}

TEST_CASE("A file that grows past RLIMIT_FSIZE answers EFBIG") {
  Here here;
  CHECK(in_child([] {
          signal(SIGXFSZ, SIG_IGN);
          rlimit limit{1000, 1000};
          setrlimit(RLIMIT_FSIZE, &limit);
          int fd = open("file", O_RDWR | O_CREAT, 0644);
          std::string bytes(2000, 'x');
          if (write(fd, bytes.data(), bytes.size()) != 1000) _exit(3);
          return static_cast<int>(write(fd, "x", 1));
        }) == "EFBIG");
  CHECK(stat_of("file").st_size == 1000);
}
