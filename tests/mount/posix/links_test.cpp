#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include "tests/mount/posix/support.h"

using namespace mount_test;

TEST_CASE("A hard link is the same file under another name") {
  Here here;
  REQUIRE_OK(mkdir("dir", 0755));
  write_file("a", "one");
  REQUIRE_OK(link("a", "b"));
  REQUIRE_OK(link("b", "dir/c"));
  ino_t number = stat_of("a").st_ino;
  for (const char* name : {"a", "b", "dir/c"}) {
    CHECK(stat_of(name).st_ino == number);
    CHECK(stat_of(name).st_nlink == 3);
    Fd fd(open(name, O_RDONLY));
    CHECK(stat_of(fd).st_ino == number);
  }
  // readdir's number is the same one, in every directory.
  for (const char* directory : {".", "dir"}) {
    DIR* d = opendir(directory);
    while (const dirent* e = readdir(d)) {
      std::string name = e->d_name;
      if (name == "a" || name == "b" || name == "c") CHECK(e->d_ino == number);
      if (name == "a" || name == "b" || name == "c") CHECK((e->d_type == DT_REG || e->d_type == DT_UNKNOWN));
    }
    closedir(d);
  }
  write_file("dir/c", "two, longer");
  CHECK(read_file("a") == "two, longer");
  REQUIRE_OK(chmod("b", 0600));
  CHECK(permissions(stat_of("a")) == 0600);
  REQUIRE_OK(unlink("a"));
  CHECK(stat_of("b").st_nlink == 2);
  CHECK(read_file("b") == "two, longer");
  REQUIRE_OK(unlink("b"));
  CHECK(stat_of("dir/c").st_nlink == 1);
  CHECK(read_file("dir/c") == "two, longer");
}

TEST_CASE("Hard links are refused where the manual page says so") {
  Here here;
  write_file("file", "x");
  REQUIRE_OK(mkdir("dir", 0755));
  CHECK_ERROR(link("dir", "dir2"), EPERM);
  CHECK_ERROR(link("none", "b"), ENOENT);
  CHECK_ERROR(link("file", "none/b"), ENOENT);
  CHECK_ERROR(link("file", "dir"), EEXIST);
  CHECK_ERROR(link("file", "file"), EEXIST);
  CHECK_ERROR(link("file/x", "b"), ENOTDIR);
  CHECK_ERROR(link("file", "/dev/atoll-link"), EXDEV);
}

TEST_CASE("linkat links a symlink itself, or what it points to when asked") {
  Here here;
  write_file("target", "t");
  REQUIRE_OK(symlink("target", "sym"));
  REQUIRE_OK(linkat(AT_FDCWD, "sym", AT_FDCWD, "sym2", 0));
  CHECK(S_ISLNK(stat_of("sym2").st_mode));
  CHECK(stat_of("sym2").st_ino == stat_of("sym").st_ino);
  CHECK(stat_of("sym").st_nlink == 2);
  REQUIRE_OK(linkat(AT_FDCWD, "sym", AT_FDCWD, "hard", AT_SYMLINK_FOLLOW));
  CHECK(stat_of("hard").st_ino == stat_of("target").st_ino);
}

TEST_CASE("Symlinks keep targets of 1 to 4095 bytes exactly, whatever the bytes") {
  Here here;
  for (std::size_t length : {1, 2, 59, 60, 61, 255, 256, 1000, 4000, 4094, 4095}) {
    std::string target;
    for (std::size_t i = 0; i < length; ++i) target += static_cast<char>(1 + (i * 7 + length) % 255);
    std::string name = "s" + std::to_string(length);
    REQUIRE_OK(symlink(target.c_str(), name.c_str()));
    std::string back(5000, '\0');
    ssize_t got = readlink(name.c_str(), back.data(), back.size());
    REQUIRE(got == static_cast<ssize_t>(length));
    back.resize(static_cast<std::size_t>(got));
    CHECK(back == target);
    CHECK(stat_of(name).st_size == static_cast<off_t>(length));
    CHECK(permissions(stat_of(name)) == 0777);
    char one[2] = {0, 'k'};
    CHECK(readlink(name.c_str(), one, 1) == 1);
    CHECK(one[1] == 'k');
  }
  CHECK_ERROR(symlink(std::string(4096, 'x').c_str(), "long"), ENAMETOOLONG);
  CHECK_ERROR(symlink("", "empty"), ENOENT);
  CHECK_ERROR(symlink("x", "s1"), EEXIST);
  write_file("file", "");
  CHECK_ERROR(readlink("file", std::string(10, 0).data(), 10), EINVAL);
  CHECK_ERROR(symlink("x", "file/y"), ENOTDIR);
}

TEST_CASE("Symlinks are followed through chains, and loops end with ELOOP") {
  Here here;
  REQUIRE_OK(mkdir("dir", 0755));
  write_file("dir/file", "found");
  std::string before = "dir";
  for (int i = 0; i < 30; ++i) {
    std::string name = "chain" + std::to_string(i);
    REQUIRE_OK(symlink(before.c_str(), name.c_str()));
    before = name;
  }
  CHECK(read_file(before + "/file") == "found");
  REQUIRE_OK(symlink("loop2", "loop1"));
  REQUIRE_OK(symlink("loop1", "loop2"));
  CHECK_ERROR(open("loop1", O_RDONLY), ELOOP);
  CHECK_ERROR(mkdir("loop1", 0755), EEXIST);
  CHECK_ERROR(rmdir("chain0"), ENOTDIR);
  REQUIRE_OK(unlink("chain0"));
  CHECK(read_file("dir/file") == "found");
}

TEST_CASE("A symlink's owner and times change without touching its target") {
  Here here;
  write_file("target", "t");
  Times target = times_of("target");
  REQUIRE_OK(symlink("target", "link"));
  timespec stamps[2] = {{1000, 1}, {2000, 999'999'999}};
  REQUIRE_OK(utimensat(AT_FDCWD, "link", stamps, AT_SYMLINK_NOFOLLOW));
  CHECK(times_of("link").mtime == 2000'999'999'999);
  CHECK(times_of("target").mtime == target.mtime);
  if (can_be_others()) {
    REQUIRE_OK(lchown("link", 4321, 1234));
    CHECK(stat_of("link").st_uid == 4321);
    CHECK(stat_of("link").st_gid == 1234);
    CHECK(stat_of("target").st_uid == 0);
  }
}

TEST_CASE("A fifo carries bytes between processes") {
  Here here;
  REQUIRE_OK(mkfifo("fifo", 0640));
  CHECK(S_ISFIFO(stat_of("fifo").st_mode));
  CHECK(permissions(stat_of("fifo")) == 0640);
  CHECK_ERROR(mkfifo("fifo", 0640), EEXIST);
  CHECK_ERROR(open("fifo", O_WRONLY | O_NONBLOCK), ENXIO);
  Fd reader(open("fifo", O_RDONLY | O_NONBLOCK));
  REQUIRE(reader.is_open());
  CHECK(in_child([] {
          int fd = open("fifo", O_WRONLY);
          return write(fd, "through", 7) == 7 ? 0 : -1;
        }) == "ok");
  char buffer[16];
  CHECK(read(reader, buffer, sizeof buffer) == 7);
  CHECK(std::string_view(buffer, 7) == "through");
  CHECK_ERROR(lseek(reader, 0, SEEK_SET), ESPIPE);
}

TEST_CASE("A socket can be bound, connected to and unlinked") {
  Here here;
  int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, "socket");
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  REQUIRE_OK(bind(listener, raw, sizeof address));
  CHECK(S_ISSOCK(stat_of("socket").st_mode));
  REQUIRE_OK(listen(listener, 1));
  int again = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK_ERROR(bind(again, raw, sizeof address), EADDRINUSE);
  REQUIRE_OK(connect(again, raw, sizeof address));
  CHECK_ERROR(open("socket", O_RDWR), ENXIO);
  REQUIRE_OK(unlink("socket"));
  int late = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK_ERROR(connect(late, raw, sizeof address), ENOENT);
  close(late);
  close(again);
  close(listener);
}

TEST_CASE("Device files keep their numbers, and only root makes them") {
  Here here;
  NEEDS_ROOT();
  if (RESULT_OF(mknod("null", S_IFCHR | 0666, makedev(1, 3))) == "EPERM" && !can_be_others()) {
    skipped("device files: this user namespace may not make any");
    return;
  }
  struct stat s = stat_of("null");
  CHECK(S_ISCHR(s.st_mode));
  CHECK(major(s.st_rdev) == 1);
  CHECK(minor(s.st_rdev) == 3);
  CHECK(permissions(s) == 0644);  // umask 022
  // Large major and minor numbers survive the FUSE protocol's 32-bit encoding: 12 bits major, 20 bits minor.
  REQUIRE_OK(mknod("big", S_IFBLK | 0600, makedev(4095, (1u << 20) - 1)));
  s = stat_of("big");
  CHECK(S_ISBLK(s.st_mode));
  CHECK(major(s.st_rdev) == 4095);
  CHECK(minor(s.st_rdev) == (1u << 20) - 1);
  struct statvfs fs;
  REQUIRE_OK(statvfs(".", &fs));
  if ((fs.f_flag & ST_NODEV) != 0) {
    CHECK_ERROR(open("null", O_WRONLY), EACCES);
  } else {
    Fd fd(open("null", O_WRONLY));
    CHECK(write(fd, "gone", 4) == 4);
  }
  if (can_be_others()) {
    CHECK(as_user(alice, [] { return mknod("mine", S_IFCHR | 0666, makedev(1, 3)); }) == "EPERM");
    CHECK(as_user(alice, [] { return mkfifo("pipe", 0600); }) == "ok");
    CHECK(stat_of("pipe").st_uid == alice.uid);
  }
}

TEST_CASE("mknod makes an empty regular file with the type and mode asked for") {
  Here here;
  REQUIRE_OK(mknod("file", S_IFREG | 0765, 0));
  CHECK(S_ISREG(stat_of("file").st_mode));
  CHECK(permissions(stat_of("file")) == 0745);
  CHECK(stat_of("file").st_size == 0);
  CHECK_ERROR(mknod("file", S_IFREG | 0600, 0), EEXIST);
}
