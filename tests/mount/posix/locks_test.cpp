#include <sys/file.h>

#include "tests/mount/posix/support.h"

using namespace mount_test;

namespace {
struct flock range(short type, off_t start, off_t length) {
  struct flock f {};
  f.l_type = type;
  f.l_whence = SEEK_SET;
  f.l_start = start;
  f.l_len = length;
  return f;
}
int set_lock(int fd, int command, short type, off_t start = 0, off_t length = 0) {
  struct flock f = range(type, start, length);
  return fcntl(fd, command, &f);
}
}  // namespace

TEST_CASE("flock belongs to the open file: shared by many, exclusive to one, gone with the last close") {
  Here here;
  Fd a(open("file", O_RDWR | O_CREAT, 0644)), b(open("file", O_RDWR)), c(open("file", O_RDONLY));
  REQUIRE_OK(flock(a, LOCK_SH));
  REQUIRE_OK(flock(c, LOCK_SH | LOCK_NB));
  CHECK_ERROR(flock(b, LOCK_EX | LOCK_NB), EAGAIN);
  REQUIRE_OK(flock(c, LOCK_UN));
  REQUIRE_OK(flock(a, LOCK_EX | LOCK_NB));
  CHECK_ERROR(flock(b, LOCK_SH | LOCK_NB), EAGAIN);
  CHECK(in_child([] { return flock(open("file", O_RDWR), LOCK_EX | LOCK_NB); }) == "EAGAIN");
  int copy = dup(a);
  REQUIRE_OK(a.close());
  CHECK_ERROR(flock(b, LOCK_SH | LOCK_NB), EAGAIN);
  close(copy);
  CHECK_OK(flock(b, LOCK_EX | LOCK_NB));
}

TEST_CASE("A waiting flock gets the lock when it is given up") {
  Here here;
  Fd held(open("file", O_RDWR | O_CREAT, 0644));
  REQUIRE_OK(flock(held, LOCK_EX));
  pid_t pid = fork();
  if (pid == 0) {
    alarm(20);
    int own = open("file", O_RDWR);
    if (flock(own, LOCK_EX) != 0) _exit(1);
    _exit(write(own, "locked", 6) == 6 ? 0 : 2);
  }
  for (int i = 0; i < 5; ++i) let_clock_move();
  CHECK(stat_of(held).st_size == 0);
  REQUIRE_OK(flock(held, LOCK_UN));
  int status = -1;
  waitpid(pid, &status, 0);
  CHECK(status == 0);
  CHECK(read_file("file") == "locked");
}

TEST_CASE("fcntl locks belong to the process and cover ranges") {
  Here here;
  write_file("file", std::string(1000, 'x'));
  Fd fd(open("file", O_RDWR));
  REQUIRE_OK(set_lock(fd, F_SETLK, F_WRLCK, 100, 100));
  REQUIRE_OK(set_lock(fd, F_SETLK, F_RDLCK, 300, 100));
  CHECK_OK(set_lock(fd, F_SETLK, F_WRLCK, 150, 10));  // one's own lock never conflicts
  CHECK(in_child([] { return set_lock(open("file", O_RDWR), F_SETLK, F_RDLCK, 150, 1); }) == "EAGAIN");
  CHECK(in_child([] { return set_lock(open("file", O_RDWR), F_SETLK, F_WRLCK, 350, 1); }) == "EAGAIN");
  CHECK(in_child([] { return set_lock(open("file", O_RDWR), F_SETLK, F_RDLCK, 350, 1); }) == "ok");
  CHECK(in_child([] { return set_lock(open("file", O_RDWR), F_SETLK, F_WRLCK, 200, 100); }) == "ok");
  CHECK(in_child([] { return set_lock(open("file", O_RDWR), F_SETLK, F_WRLCK, 0, 0); }) == "EAGAIN");
  pid_t self = getpid();
  CHECK(in_child([self] {
          struct flock f = range(F_WRLCK, 0, 0);
          if (fcntl(open("file", O_RDWR), F_GETLK, &f) != 0) return -1;
          if (f.l_type != F_WRLCK || f.l_start != 100 || f.l_len != 100) _exit(4);
          if (f.l_pid != self) _exit(5);
          return 0;
        }) == "ok");
  // Unlocking the middle splits; closing any descriptor of the file drops all, as POSIX has it.
  REQUIRE_OK(set_lock(fd, F_SETLK, F_UNLCK, 140, 20));
  CHECK(in_child([] { return set_lock(open("file", O_RDWR), F_SETLK, F_WRLCK, 140, 20); }) == "ok");
  CHECK(in_child([] { return set_lock(open("file", O_RDWR), F_SETLK, F_WRLCK, 139, 1); }) == "EAGAIN");
  { Fd other(open("file", O_RDONLY)); }
  CHECK(in_child([] { return set_lock(open("file", O_RDWR), F_SETLK, F_WRLCK, 0, 0); }) == "ok");
}

TEST_CASE("fcntl locks need a descriptor of the right mode and a sane range") {
  Here here;
  write_file("file", "x");
  Fd reader(open("file", O_RDONLY)), writer(open("file", O_WRONLY));
  CHECK_ERROR(set_lock(reader, F_SETLK, F_WRLCK), EBADF);
  CHECK_ERROR(set_lock(writer, F_SETLK, F_RDLCK), EBADF);
  CHECK_ERROR(set_lock(writer, F_SETLK, F_WRLCK, -1, 1), EINVAL);
}

TEST_CASE("Two processes that wait for each other's locks are told of the deadlock") {
  Here here;
  write_file("file", "ab");
  Fd fd(open("file", O_RDWR));
  int to_child[2], to_parent[2];
  REQUIRE_OK(pipe(to_child));
  REQUIRE_OK(pipe(to_parent));
  REQUIRE_OK(set_lock(fd, F_SETLK, F_WRLCK, 0, 1));
  pid_t pid = fork();
  if (pid == 0) {
    alarm(20);
    int own = open("file", O_RDWR);
    set_lock(own, F_SETLK, F_WRLCK, 1, 1);
    if (write(to_parent[1], "x", 1) != 1) _exit(1);
    _exit(set_lock(own, F_SETLKW, F_WRLCK, 0, 1) == 0 ? 0 : 1);
  }
  char byte;
  REQUIRE(read(to_parent[0], &byte, 1) == 1);
  // Wait until the child sleeps on the lock, then close the circle.
  std::string wchan;
  for (int i = 0; i < 2000 && wchan.find(" S ") == std::string::npos; ++i) {
    wchan = read_file("/proc/" + std::to_string(pid) + "/stat");
    let_clock_move();
  }
  alarm(20);
  CHECK_ERROR(set_lock(fd, F_SETLKW, F_WRLCK, 1, 1), EDEADLK);
  alarm(0);
  REQUIRE_OK(set_lock(fd, F_SETLK, F_UNLCK, 0, 1));
  int status = -1;
  waitpid(pid, &status, 0);
  CHECK(status == 0);
  for (int end : {to_child[0], to_child[1], to_parent[0], to_parent[1]}) close(end);
}

TEST_CASE("Open file description locks belong to the open file, in one process too") {
  Here here;
  write_file("file", std::string(100, 'x'));
  Fd a(open("file", O_RDWR)), b(open("file", O_RDWR));
  REQUIRE_OK(set_lock(a, F_OFD_SETLK, F_WRLCK, 0, 50));
  CHECK_ERROR(set_lock(b, F_OFD_SETLK, F_RDLCK, 10, 1), EAGAIN);
  CHECK_OK(set_lock(b, F_OFD_SETLK, F_WRLCK, 50, 50));
  struct flock f = range(F_WRLCK, 0, 50);
  REQUIRE_OK(fcntl(b, F_OFD_GETLK, &f));
  CHECK(f.l_type == F_WRLCK);
  CHECK(f.l_pid == -1);
  { Fd other(open("file", O_RDONLY)); }  // closing another descriptor does not drop these
  CHECK_ERROR(set_lock(b, F_OFD_SETLK, F_RDLCK, 10, 1), EAGAIN);
  REQUIRE_OK(a.close());
  CHECK_OK(set_lock(b, F_OFD_SETLK, F_WRLCK, 0, 50));
}

TEST_CASE("Locks held by a killed process are free again") {
  Here here;
  write_file("file", "x");
  int ends[2];
  REQUIRE_OK(pipe(ends));
  pid_t pid = fork();
  if (pid == 0) {
    int own = open("file", O_RDWR);
    flock(own, LOCK_EX);
    set_lock(own, F_SETLK, F_WRLCK);
    if (write(ends[1], "x", 1) != 1) _exit(1);
    pause();
    _exit(0);
  }
  char byte;
  REQUIRE(read(ends[0], &byte, 1) == 1);
  Fd fd(open("file", O_RDWR));
  CHECK_ERROR(flock(fd, LOCK_EX | LOCK_NB), EAGAIN);
  CHECK_ERROR(set_lock(fd, F_SETLK, F_WRLCK), EAGAIN);
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  CHECK_OK(flock(fd, LOCK_EX | LOCK_NB));
  CHECK_OK(set_lock(fd, F_SETLK, F_WRLCK));
  close(ends[0]);
  close(ends[1]);
}
