#include <sys/mman.h>
#include <sys/statvfs.h>

#include <linux/falloc.h>
#include <linux/fs.h>

#include "tests/mount/posix/support.h"

using namespace mount_test;

namespace {
enum { none = 0, m = 1, c = 2, mc = 3 };

/// Which of mtime and ctime `work` moved forward on `path`.
int moved(const std::string& path, const std::function<int()>& work) {
  Times before = times_of(path);
  let_clock_move();
  REQUIRE_OK(work());
  Times after = times_of(path);
  CHECK(after.mtime >= before.mtime);
  CHECK(after.ctime >= before.ctime);
  return (after.mtime > before.mtime ? m : 0) | (after.ctime > before.ctime ? c : 0);
}

int write_once(const char* path, int flags) {
  Fd fd(open(path, O_WRONLY | flags));
  return fd.is_open() && write(fd, "x", 1) == 1 ? 0 : -1;
}
timespec at(std::int64_t seconds, long nanos) { return {seconds, nanos}; }
}  // namespace

TEST_CASE("Times are set to the nanosecond, far back and far ahead, and UTIME_NOW and UTIME_OMIT do as they say") {
  Here here;
  write_file("file", "x");
  struct Case {
    std::int64_t seconds;
    long nanos;
  };
  for (Case t : {Case{0, 0}, Case{1, 1}, Case{1'234'567'890, 123'456'789}, Case{-1, 999'999'999}, Case{-1'000'000'000, 5},
                 Case{2'147'483'647, 999'999'999}, Case{2'147'483'648, 0}, Case{4'294'967'296, 7}, Case{9'000'000'000, 1}}) {
    INFO(t.seconds << "." << t.nanos);
    timespec stamps[2] = {at(t.seconds, t.nanos), at(t.seconds, t.nanos)};
    REQUIRE_OK(utimensat(AT_FDCWD, "file", stamps, 0));
    struct stat s = stat_of("file");
    CHECK(s.st_mtim.tv_sec == t.seconds);
    CHECK(s.st_mtim.tv_nsec == t.nanos);
    CHECK(s.st_atim.tv_sec == t.seconds);
    CHECK(s.st_atim.tv_nsec == t.nanos);
  }
  timespec omit[2] = {{0, UTIME_OMIT}, {5, 5}};
  REQUIRE_OK(utimensat(AT_FDCWD, "file", omit, 0));
  CHECK(times_of("file").mtime == 5'000'000'005);
  CHECK(times_of("file").atime == 9'000'000'000'000'000'001);
  timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
  timespec begin, end;
  clock_gettime(CLOCK_REALTIME_COARSE, &begin);
  REQUIRE_OK(utimensat(AT_FDCWD, "file", now, 0));
  clock_gettime(CLOCK_REALTIME, &end);
  CHECK(times_of("file").atime >= nanoseconds(begin));
  CHECK(times_of("file").atime <= nanoseconds(end));
  CHECK(times_of("file").mtime == 5'000'000'005);
  timespec bad[2] = {{0, 2'000'000'000}, {0, 0}};
  CHECK_ERROR(utimensat(AT_FDCWD, "file", bad, 0), EINVAL);
}

TEST_CASE("A set mtime stays through writes that follow it in another file and through a flush") {
  Here here;
  Fd fd(open("file", O_WRONLY | O_CREAT, 0644));
  REQUIRE(write_at(fd, pattern(100'000, 1), 0));
  timespec stamps[2] = {at(100, 1), at(200, 2)};
  REQUIRE_OK(futimens(fd, stamps));
  REQUIRE_OK(fsync(fd));
  CHECK(times_of("file").mtime == 200'000'000'002);
  REQUIRE_OK(fd.close());
  CHECK(times_of("file").mtime == 200'000'000'002);
  CHECK(times_of("file").atime == 100'000'000'001);
}

TEST_CASE("Changes of content move mtime and ctime") {
  Here here;
  write_file("file", pattern(10'000, 1));
  CHECK(moved("file", [] { return write_once("file", 0); }) == mc);
  CHECK(moved("file", [] { return write_once("file", O_APPEND); }) == mc);
  CHECK(moved("file", [] { return write_once("file", O_SYNC); }) == mc);
  CHECK(moved("file", [] { return truncate("file", 5000); }) == mc);
  CHECK(moved("file", [] { return truncate("file", 15'000); }) == mc);
  CHECK(moved("file", [] { return Fd(open("file", O_WRONLY | O_TRUNC)).error == 0 ? 0 : -1; }) == mc);
  CHECK(moved("file", [] { Fd fd(open("file", O_WRONLY)); return fallocate(fd, 0, 0, 1 << 20); }) == mc);
  CHECK(moved("file", [] { Fd fd(open("file", O_WRONLY)); return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096); }) == mc);
  write_file("other", pattern(10'000, 2));
  CHECK(moved("file", [] {
          Fd from(open("other", O_RDONLY)), to(open("file", O_WRONLY));
          return copy_file_range(from, nullptr, to, nullptr, 5000, 0) == 5000 ? 0 : -1;
        }) == mc);
  CHECK(moved("file", [] {
          Fd fd(open("file", O_RDWR));
          char* map = static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
          map[0] = '!';
          int result = msync(map, 4096, MS_SYNC);
          munmap(map, 4096);
          return result;
        }) == mc);
  CHECK(moved("file", [] { Fd fd(open("file", O_WRONLY)); return static_cast<int>(write(fd, "", 0)); }) == none);
  CHECK(moved("file", [] { Fd fd(open("file", O_RDWR)); return fsync(fd); }) == none);
}

TEST_CASE("Changes of the inode move ctime alone") {
  Here here;
  write_file("file", "x");
  CHECK(moved("file", [] { return chmod("file", 0600); }) == c);
  CHECK(moved("file", [] { return link("file", "link"); }) == c);
  CHECK(moved("file", [] { return unlink("link"); }) == c);
  CHECK(moved("file", [] { return chmod("file", 0600); }) == c);
}

TEST_CASE("Renaming, changing the owner and setting times move ctime") {
  Here here;
  write_file("a", "x");
  Times before = times_of("a");
  let_clock_move();
  REQUIRE_OK(rename("a", "b"));
  CHECK(times_of("b").ctime > before.ctime);
  CHECK(times_of("b").mtime == before.mtime);
  if (is_root() && can_be_others()) CHECK(moved("b", [] { return chown("b", 12001, 12001); }) == c);
  timespec stamps[2] = {{1, 1}, {0, UTIME_OMIT}};
  CHECK(moved("b", [&] { return utimensat(AT_FDCWD, "b", stamps, 0); }) == c);
}

TEST_CASE("A directory's mtime and ctime move when its entries change, and not otherwise") {
  Here here;
  REQUIRE_OK(mkdir("d", 0755));
  REQUIRE_OK(mkdir("e", 0755));
  CHECK(moved("d", [] { return Fd(open("d/file", O_WRONLY | O_CREAT, 0644)).error == 0 ? 0 : -1; }) == mc);
  CHECK(moved("d", [] { return Fd(open("d/file", O_WRONLY | O_CREAT, 0644)).error == 0 ? 0 : -1; }) == none);
  CHECK(moved("d", [] { return write_once("d/file", 0); }) == none);
  CHECK(moved("d", [] { return chmod("d/file", 0600); }) == none);
  CHECK(moved("d", [] { return mkdir("d/sub", 0755); }) == mc);
  CHECK(moved("d", [] { return symlink("x", "d/sym"); }) == mc);
  CHECK(moved("d", [] { return mkfifo("d/fifo", 0600); }) == mc);
  CHECK(moved("d", [] { return link("d/file", "d/link"); }) == mc);
  CHECK(moved("d", [] { return rename("d/link", "d/moved"); }) == mc);
  CHECK(moved("d", [] { return rename("d/moved", "e/moved"); }) == mc);
  CHECK(moved("e", [] { return rename("d/sym", "e/sym"); }) == mc);
  CHECK(moved("d", [] { return unlink("d/fifo"); }) == mc);
  CHECK(moved("d", [] { return rmdir("d/sub"); }) == mc);
  CHECK(moved("d", [] { return renameat2(AT_FDCWD, "d/file", AT_FDCWD, "e/sym", RENAME_EXCHANGE); }) == mc);
  CHECK(moved("d", [] { return mkdir("d/file", 0755) == -1 && errno == EEXIST ? 0 : -1; }) == none);
  CHECK(moved("d", [] { return chmod("d", 0700); }) == c);
}

TEST_CASE("A replaced file's other links get a new ctime") {
  Here here;
  write_file("a", "A");
  write_file("b", "B");
  REQUIRE_OK(link("b", "keeps"));
  CHECK(moved("keeps", [] { return rename("a", "b"); }) == c);
  CHECK(stat_of("keeps").st_nlink == 1);
}

TEST_CASE("New files carry the time of their creation") {
  Here here;
  let_clock_move();
  timespec begin, end;
  clock_gettime(CLOCK_REALTIME_COARSE, &begin);
  write_file("file", "");
  REQUIRE_OK(mkdir("dir", 0755));
  REQUIRE_OK(symlink("x", "sym"));
  REQUIRE_OK(mkfifo("fifo", 0600));
  clock_gettime(CLOCK_REALTIME, &end);
  for (const char* name : {"file", "dir", "sym", "fifo"}) {
    INFO(name);
    Times t = times_of(name);
    for (std::int64_t stamp : {t.atime, t.mtime, t.ctime}) {
      CHECK(stamp >= nanoseconds(begin));
      CHECK(stamp <= nanoseconds(end));
    }
  }
}

TEST_CASE("A read moves atime when relatime says so, and O_NOATIME and noatime leave it") {
  Here here;
  struct statvfs fs {};
  REQUIRE_OK(statvfs(".", &fs));
  if ((fs.f_flag & ST_NOATIME) != 0) {
    skipped("atime: this mount is noatime");
    return;
  }
  auto read_once = [](int flags) {
    // Out of the page cache first: a FUSE file system learns of reads that become requests, and only of these.
    Fd writer(open("file", O_RDWR));
    REQUIRE_OK(fsync(writer));
    REQUIRE_OK(posix_fadvise(writer, 0, 0, POSIX_FADV_DONTNEED));
    Fd fd(open("file", O_RDONLY | flags));
    REQUIRE(fd.is_open());
    char byte;
    REQUIRE(read(fd, &byte, 1) == 1);
  };
  auto set_times = [](timespec atime, timespec mtime) {
    timespec stamps[2] = {atime, mtime};
    REQUIRE_OK(utimensat(AT_FDCWD, "file", stamps, 0));
  };
  write_file("file", pattern(10'000, 1));
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  // Older than mtime: moves.
  set_times(at(now.tv_sec - 100, 0), at(now.tv_sec - 50, 0));
  let_clock_move();
  read_once(O_NOATIME);
  CHECK(stat_of("file").st_atim.tv_sec == now.tv_sec - 100);
  read_once(0);
  CHECK(stat_of("file").st_atim.tv_sec >= now.tv_sec);
  CHECK(stat_of("file").st_mtim.tv_sec == now.tv_sec - 50);
  // Newer than mtime and ctime, and of today: stays, even when asked again later.
  Times moved_once = times_of("file");
  let_clock_move();
  read_once(0);
  CHECK(times_of("file").atime == moved_once.atime);
  // Older than a day: moves.
  set_times(at(now.tv_sec - 90'000, 0), at(now.tv_sec - 100'000, 0));
  read_once(0);
  CHECK(stat_of("file").st_atim.tv_sec >= now.tv_sec);
}
