#include <sys/vfs.h>

#include "tests/mount/posix/support.h"

using namespace mount_test;

namespace {
std::string proc(int fd) { return "/proc/self/fd/" + std::to_string(fd); }
}  // namespace

TEST_CASE("An unlinked file lives on for those who have it open") {
  Here here;
  std::string bytes = pattern(300'000, 7);
  Fd fd(open("file", O_RDWR | O_CREAT, 0644));
  REQUIRE(write_at(fd, bytes, 0));
  REQUIRE_OK(unlink("file"));
  CHECK_ERROR(access("file", F_OK), ENOENT);
  CHECK(stat_of(fd).st_nlink == 0);
  CHECK(read_at(fd, bytes.size(), 0) == bytes);
  REQUIRE(write_at(fd, "later", 300'000));
  REQUIRE_OK(fsync(fd));
  CHECK(read_at(fd, 100, 300'000) == "later");
  CHECK(stat_of(fd).st_size == 300'005);
  REQUIRE_OK(ftruncate(fd, 10));
  CHECK(read_at(fd, 100, 0) == bytes.substr(0, 10));
  REQUIRE_OK(fchmod(fd, 0600));
  CHECK(permissions(stat_of(fd)) == 0600);
}

TEST_CASE("An unlinked open file can be opened again through /proc/self/fd") {
  Here here;
  Fd fd(open("file", O_RDWR | O_CREAT, 0644));
  REQUIRE(write_at(fd, "still here", 0));
  REQUIRE_OK(unlink("file"));
  Fd again(open(proc(fd).c_str(), O_RDWR));
  INFO(error_name(again.error));
  REQUIRE(again.is_open());
  CHECK(read_at(again, 100, 0) == "still here");
  REQUIRE_OK(fd.close());
  REQUIRE(write_at(again, "STILL", 0));
  CHECK(read_at(again, 100, 0) == "STILL here");
  Fd truncated(open(proc(again).c_str(), O_WRONLY | O_TRUNC));
  REQUIRE(truncated.is_open());
  CHECK(stat_of(again).st_size == 0);
  // What was open with a name and then unlinked cannot get a name back (link count 0, no O_TMPFILE).
  CHECK_ERROR(linkat(AT_FDCWD, proc(again).c_str(), AT_FDCWD, "back", AT_SYMLINK_FOLLOW), ENOENT);
}

TEST_CASE("A name can be used again at once while its former file is open") {
  Here here;
  Fd old(open("name", O_RDWR | O_CREAT, 0644));
  REQUIRE(write_at(old, "old", 0));
  REQUIRE_OK(unlink("name"));
  Fd fresh(open("name", O_RDWR | O_CREAT | O_EXCL, 0644));
  REQUIRE(fresh.is_open());
  REQUIRE(write_at(fresh, "new", 0));
  CHECK(read_at(old, 9, 0) == "old");
  CHECK(read_file("name") == "new");
  CHECK(stat_of(old).st_ino != stat_of(fresh).st_ino);
}

TEST_CASE("Removing fails as the manual pages say") {
  Here here;
  REQUIRE_OK(mkdir("dir", 0755));
  write_file("dir/file", "");
  CHECK_ERROR(unlink("none"), ENOENT);
  CHECK_ERROR(unlink("dir"), EISDIR);
  CHECK_ERROR(unlink("dir/file/x"), ENOTDIR);
  CHECK_ERROR(unlink("dir/file/"), ENOTDIR);
  CHECK_ERROR(rmdir("dir"), ENOTEMPTY);
  CHECK_ERROR(rmdir("dir/file"), ENOTDIR);
  CHECK_ERROR(rmdir("none"), ENOENT);
  CHECK_ERROR(rmdir("dir/."), EINVAL);
  CHECK_ERROR(rmdir("dir/.."), ENOTEMPTY);
  REQUIRE_OK(unlink("dir/file"));
  REQUIRE_OK(rmdir("dir"));
  CHECK_ERROR(mkdir("none/x", 0755), ENOENT);
  REQUIRE_OK(mkdir("dir", 0755));
  CHECK_ERROR(mkdir("dir", 0755), EEXIST);
}

TEST_CASE("A removed directory that is still open is empty and takes nothing new") {
  Here here;
  REQUIRE_OK(mkdir("dir", 0755));
  Fd dir(open("dir", O_RDONLY | O_DIRECTORY));
  REQUIRE_OK(rmdir("dir"));
  CHECK(stat_of(dir).st_nlink == 0);
  CHECK_ERROR(openat(dir, "x", O_WRONLY | O_CREAT, 0644), ENOENT);
  CHECK_ERROR(mkdirat(dir, "x", 0755), ENOENT);
  CHECK_ERROR(symlinkat("t", dir, "x"), ENOENT);
  CHECK_ERROR(faccessat(dir, "x", F_OK, 0), ENOENT);
  int dup_fd = dup(dir);
  DIR* d = fdopendir(dup_fd);
  REQUIRE(d != nullptr);
  int entries = 0;
  while (const dirent* e = readdir(d)) entries += e->d_name[0] != '.';
  closedir(d);
  CHECK(entries == 0);
  // A new directory of the same name is another one.
  REQUIRE_OK(mkdir("dir", 0755));
  CHECK(stat_of("dir").st_ino != stat_of(dir).st_ino);
}

TEST_CASE("A directory's link count is two and one for each directory in it") {
  Here here;
  REQUIRE_OK(mkdir("dir", 0755));
  CHECK(stat_of("dir").st_nlink == 2);
  for (int i = 1; i <= 5; ++i) {
    REQUIRE_OK(mkdir(("dir/" + std::to_string(i)).c_str(), 0755));
    CHECK(stat_of("dir").st_nlink == 2u + i);
  }
  write_file("dir/file", "");
  CHECK(stat_of("dir").st_nlink == 7);
  REQUIRE_OK(rmdir("dir/3"));
  CHECK(stat_of("dir").st_nlink == 6);
}

TEST_CASE("A removed open file frees its space when the last one closes it") {
  Here here;
  Fd file(open("big", O_RDWR | O_CREAT, 0644));
  REQUIRE(write_at(file, pattern(1 << 20, 1), 0));
  REQUIRE_OK(fsync(file));
  CHECK(stat_of(file).st_blocks * 512 >= (1 << 20));
  REQUIRE_OK(unlink("big"));
  CHECK(stat_of(file).st_blocks * 512 >= (1 << 20));
  CHECK_OK(file.close());
}
