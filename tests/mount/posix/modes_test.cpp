#include <sys/mman.h>
#include <sys/xattr.h>

#include "tests/mount/posix/support.h"

using namespace mount_test;

namespace {
mode_t mode(const char* path) { return permissions(stat_of(path)); }
int make(const char* path, mode_t bits) {
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, bits);
  return fd < 0 ? -1 : close(fd);
}
int write_byte(const char* path) {
  int fd = open(path, O_WRONLY);
  if (fd < 0) return -1;
  ssize_t put = write(fd, "x", 1);
  int error = errno;
  close(fd);
  errno = error;
  return put == 1 ? 0 : -1;
}
constexpr uid_t keep = static_cast<uid_t>(-1);
}  // namespace

TEST_CASE("Files and directories get exactly the mode asked for, less the umask") {
  Here here;
  for (mode_t mask : {0u, 022u, 027u, 077u, 0777u}) {
    for (mode_t bits : {0777u, 0666u, 0640u, 0400u, 0000u, 01777u, 0111u}) {
      INFO(std::oct << "umask " << mask << " mode " << bits);
      umask(mask);
      REQUIRE_OK(make("f", bits));
      REQUIRE_OK(mkdir("d", bits));
      REQUIRE_OK(mkfifo("p", bits & 0777));
      umask(022);
      CHECK(mode("f") == (bits & ~mask));
      CHECK(mode("d") == (bits & ~mask));
      CHECK(mode("p") == (bits & ~mask & 0777));
      unlink("f");
      unlink("p");
      rmdir("d");
    }
  }
  REQUIRE_OK(make("setid", 06755));
  CHECK(mode("setid") == 06755);
}

TEST_CASE("Every mode can be set with chmod and reads back") {
  Here here;
  write_file("file", "");
  REQUIRE_OK(mkdir("dir", 0700));
  for (mode_t bits = 0; bits <= 07777; bits += 17) {
    REQUIRE_OK(chmod("file", bits));
    REQUIRE(mode("file") == bits);
    REQUIRE_OK(chmod("dir", bits));
    REQUIRE(mode("dir") == bits);
  }
  REQUIRE_OK(chmod("dir", 0700));
  CHECK_ERROR(chmod("none", 0600), ENOENT);
}

TEST_CASE("New files belong to who makes them, with that caller's umask") {
  Here here;
  NEEDS_USERS();
  CHECK(as_user(alice, [] { umask(007); return make("a", 0666); }) == "ok");
  CHECK(as_user({bob.uid, bob.gid, {15000}}, [] { umask(0); return mkdir("b", 0777); }) == "ok");
  CHECK(as_user(bob, [] { return symlink("x", "s"); }) == "ok");
  CHECK(stat_of("a").st_uid == alice.uid);
  CHECK(stat_of("a").st_gid == alice.gid);
  CHECK(mode("a") == 0660);
  CHECK(stat_of("b").st_uid == bob.uid);
  CHECK(stat_of("b").st_gid == bob.gid);
  CHECK(mode("b") == 0777);
  CHECK(stat_of("s").st_uid == bob.uid);
}

TEST_CASE("Permissions are checked for owner, group, supplementary groups and others, in this order") {
  Here here;
  NEEDS_USERS();
  write_file("file", "x");
  REQUIRE_OK(chown("file", alice.uid, 15000));
  auto access_of = [](const User& user) {
    std::string result;
    result += as_user(user, [] { return open("file", O_RDONLY); }) == "ok" ? 'r' : '-';
    result += as_user(user, [] { return open("file", O_WRONLY); }) == "ok" ? 'w' : '-';
    result += as_user(user, [] { return access("file", X_OK); }) == "ok" ? 'x' : '-';
    return result;
  };
  const User member{bob.uid, bob.gid, {14999, 15000, 15001}}, primary{bob.uid, 15000, {}};
  REQUIRE_OK(chmod("file", 0421));
  CHECK(access_of(alice) == "r--");
  CHECK(access_of(member) == "-w-");
  CHECK(access_of(primary) == "-w-");
  CHECK(access_of(bob) == "--x");
  REQUIRE_OK(chmod("file", 0077));  // the first that applies counts, not the most generous
  CHECK(access_of(alice) == "---");
  CHECK(access_of(member) == "rwx");
  CHECK(access_of(bob) == "rwx");
  REQUIRE_OK(chmod("file", 0707));
  CHECK(access_of(member) == "---");
  CHECK(access_of(bob) == "rwx");
}

TEST_CASE("Directories need search to pass, read to list and write to change") {
  Here here;
  NEEDS_USERS();
  REQUIRE_OK(mkdir("dir", 0755));
  write_file("dir/file", "x", 0666);
  auto list = [] { DIR* d = opendir("dir"); return d == nullptr ? -1 : closedir(d); };
  auto look = [] { struct stat s; return stat("dir/file", &s); };
  auto add = [] { return make("dir/new", 0644); };
  REQUIRE_OK(chmod("dir", 0754));
  CHECK(as_user(alice, list) == "ok");
  CHECK(as_user(alice, look) == "EACCES");
  REQUIRE_OK(chmod("dir", 0751));
  CHECK(as_user(alice, list) == "EACCES");
  CHECK(as_user(alice, look) == "ok");
  CHECK(as_user(alice, add) == "EACCES");
  CHECK(as_user(alice, [] { return unlink("dir/file"); }) == "EACCES");
  CHECK(as_user(alice, [] { return rename("dir/file", "file"); }) == "EACCES");
  REQUIRE_OK(chmod("dir", 0752));
  CHECK(as_user(alice, add) == "EACCES");
  REQUIRE_OK(chmod("dir", 0753));
  CHECK(as_user(alice, add) == "ok");
  CHECK(as_user(alice, [] { return unlink("dir/file"); }) == "ok");  // the directory's permission counts
}

TEST_CASE("Only the owner or root changes mode, owner and times") {
  Here here;
  NEEDS_USERS();
  write_file("file", "x");
  REQUIRE_OK(chown("file", alice.uid, alice.gid));
  REQUIRE_OK(chmod("file", 0666));
  CHECK(as_user(bob, [] { return chmod("file", 0777); }) == "EPERM");
  CHECK(as_user(bob, [] { return chown("file", bob.uid, keep); }) == "EPERM");
  CHECK(as_user(bob, [] { return chown("file", keep, bob.gid); }) == "EPERM");
  timespec stamps[2] = {{1, 0}, {1, 0}};
  CHECK(as_user(bob, [&] { return utimensat(AT_FDCWD, "file", stamps, 0); }) == "EPERM");
  CHECK(as_user(bob, [] { return utimensat(AT_FDCWD, "file", nullptr, 0); }) == "ok");  // "now" needs write permission only
  REQUIRE_OK(chmod("file", 0644));
  CHECK(as_user(bob, [] { return utimensat(AT_FDCWD, "file", nullptr, 0); }) == "EACCES");
  CHECK(as_user(alice, [&] { return utimensat(AT_FDCWD, "file", stamps, 0); }) == "ok");
  CHECK(as_user(alice, [] { return chmod("file", 0600); }) == "ok");
  CHECK(as_user(alice, [] { return chown("file", bob.uid, keep); }) == "EPERM");
  // The owner gives the file to a group of his own, and to no other.
  CHECK(as_user({alice.uid, alice.gid, {15000}}, [] { return chown("file", keep, 15000); }) == "ok");
  CHECK(as_user(alice, [] { return chown("file", keep, 15001); }) == "EPERM");
  CHECK(stat_of("file").st_gid == 15000);
  CHECK(as_user(bob, [] { return truncate("file", 0); }) == "EACCES");
}

TEST_CASE("Writing, truncating and changing the owner clear set-id bits for ordinary users") {
  Here here;
  NEEDS_USERS();
  const std::pair<const char*, int (*)()> changes[] = {
      {"write", [] { return write_byte("file"); }},
      {"direct write",
       [] {
         alignas(4096) static const char block[4096] = {};
         int fd = open("file", O_WRONLY | O_DIRECT);
         return pwrite(fd, block, sizeof block, 0) == sizeof block ? 0 : -1;
       }},
      {"truncate", [] { return truncate("file", 1); }},
      {"O_TRUNC", [] { return open("file", O_WRONLY | O_TRUNC); }},
      {"fallocate",
       [] {
         int fd = open("file", O_WRONLY);
         return fallocate(fd, 0, 0, 100'000);
       }},
      {"copy_file_range",
       [] {
         int from = open("other", O_RDONLY), to = open("file", O_WRONLY);
         return copy_file_range(from, nullptr, to, nullptr, 3, 0) == 3 ? 0 : -1;
       }},
  };
  write_file("other", "other");
  for (auto [what, change] : changes) {
    INFO(what);
    write_file("file", "some bytes");
    REQUIRE_OK(chown("file", alice.uid, alice.gid));
    REQUIRE_OK(chmod("file", 06777));
    CHECK(as_user(bob, change) == "ok");
    CHECK(mode("file") == 0777);
    REQUIRE_OK(unlink("file"));
  }
  // Without group execution set-group-id is no set-id bit (once it meant mandatory locks), and a stranger's write drops
  // set-user-id only.
  write_file("file", "x");
  REQUIRE_OK(chmod("file", 06766));
  CHECK(as_user(bob, [] { return write_byte("file"); }) == "ok");
  CHECK((mode("file") & 04000) == 0);
}

TEST_CASE("Changing the owner clears set-id bits of files, and root's write keeps them") {
  Here here;
  NEEDS_USERS();
  write_file("file", "x");
  REQUIRE_OK(chmod("file", 06755));
  CHECK_OK(write_byte("file"));
  CHECK(mode("file") == 06755);
  REQUIRE_OK(chown("file", alice.uid, alice.gid));
  CHECK(mode("file") == 0755);
  REQUIRE_OK(chmod("file", 06755));
  CHECK(as_user({alice.uid, alice.gid, {15000}}, [] { return chown("file", keep, 15000); }) == "ok");
  CHECK(mode("file") == 0755);
  REQUIRE_OK(mkdir("dir", 0755));
  REQUIRE_OK(chmod("dir", 06755));
  REQUIRE_OK(chown("dir", alice.uid, alice.gid));
  CHECK(mode("dir") == 06755);
}

TEST_CASE("Writing and changing the owner drop file capabilities") {
  Here here;
  NEEDS_USERS();
  // VFS_CAP_REVISION_2, effective, cap_net_raw permitted.
  const unsigned char capability[20] = {1, 0, 0, 2, 0, 0x20, 0, 0};
  write_file("file", "x");
  REQUIRE_OK(chmod("file", 0777));
  REQUIRE_OK(setxattr("file", "security.capability", capability, sizeof capability, 0));
  CHECK(getxattr("file", "security.capability", nullptr, 0) == 20);
  CHECK(as_user(alice, [] { return write_byte("file"); }) == "ok");
  CHECK_ERROR(getxattr("file", "security.capability", nullptr, 0), ENODATA);
  REQUIRE_OK(setxattr("file", "security.capability", capability, sizeof capability, 0));
  REQUIRE_OK(chown("file", alice.uid, alice.gid));
  CHECK_ERROR(getxattr("file", "security.capability", nullptr, 0), ENODATA);
}

TEST_CASE("chmod by an owner outside the group cannot set set-group-id") {
  Here here;
  NEEDS_USERS();
  write_file("file", "x");
  REQUIRE_OK(chown("file", alice.uid, 15000));
  CHECK(as_user(alice, [] { return chmod("file", 02755); }) == "ok");
  CHECK(mode("file") == 0755);
  CHECK(as_user({alice.uid, alice.gid, {15000}}, [] { return chmod("file", 02755); }) == "ok");
  CHECK(mode("file") == 02755);
}

TEST_CASE("In a set-group-id directory new entries get its group, and directories the bit too") {
  Here here;
  NEEDS_USERS();
  REQUIRE_OK(mkdir("dir", 0777));
  REQUIRE_OK(chown("dir", 0, 15000));
  REQUIRE_OK(chmod("dir", 02777));
  CHECK(as_user(alice, [] { return make("dir/file", 0644); }) == "ok");
  CHECK(as_user(alice, [] { return mkdir("dir/sub", 0755); }) == "ok");
  CHECK(as_user(alice, [] { return make("dir/sub/deep", 0644); }) == "ok");
  CHECK(as_user(alice, [] { return symlink("x", "dir/sym"); }) == "ok");
  CHECK(as_user(alice, [] { return mkfifo("dir/fifo", 0600); }) == "ok");
  for (const char* path : {"dir/file", "dir/sub", "dir/sub/deep", "dir/sym", "dir/fifo"}) {
    INFO(path);
    CHECK(stat_of(path).st_gid == 15000);
    CHECK(stat_of(path).st_uid == alice.uid);
  }
  CHECK(mode("dir/file") == 0644);
  CHECK(mode("dir/sub") == 02755);
  // A stranger to the group cannot get an executable with the group's identity this way.
  CHECK(as_user(alice, [] { return make("dir/program", 02755); }) == "ok");
  CHECK(mode("dir/program") == 0755);
}

TEST_CASE("In a sticky directory only the owners of the entry and of the directory remove and rename it") {
  Here here;
  NEEDS_USERS();
  REQUIRE_OK(mkdir("tmp", 0777));
  REQUIRE_OK(chmod("tmp", 01777));
  auto put = [](const char* name, const User& owner) {
    std::string path = std::string("tmp/") + name;
    write_file(path, "x");
    REQUIRE_OK(chown(path.c_str(), owner.uid, owner.gid));
  };
  put("a", alice);
  put("b", bob);
  CHECK(as_user(bob, [] { return unlink("tmp/a"); }) == "EPERM");
  CHECK(as_user(bob, [] { return rename("tmp/a", "tmp/c"); }) == "EPERM");
  CHECK(as_user(bob, [] { return rename("tmp/b", "tmp/a"); }) == "EPERM");
  CHECK(as_user(bob, [] { return renameat2(AT_FDCWD, "tmp/b", AT_FDCWD, "tmp/a", 2); }) == "EPERM");
  CHECK(as_user(alice, [] { return rename("tmp/a", "tmp/c"); }) == "ok");
  CHECK(as_user(alice, [] { return unlink("tmp/c"); }) == "ok");
  REQUIRE_OK(mkdir("tmp/dir", 0777));
  REQUIRE_OK(chown("tmp/dir", alice.uid, alice.gid));
  CHECK(as_user(bob, [] { return rmdir("tmp/dir"); }) == "EPERM");
  REQUIRE_OK(chown("tmp", bob.uid, bob.gid));
  CHECK(as_user(bob, [] { return rmdir("tmp/dir"); }) == "ok");
  put("a", alice);
  CHECK(as_user(bob, [] { return unlink("tmp/a"); }) == "ok");
}

TEST_CASE("Large user and group numbers are kept, and -1 means unchanged") {
  Here here;
  NEEDS_USERS();
  write_file("file", "x");
  REQUIRE_OK(chown("file", 4'294'967'294u, 3'000'000'000u));
  CHECK(stat_of("file").st_uid == 4'294'967'294u);
  CHECK(stat_of("file").st_gid == 3'000'000'000u);
  REQUIRE_OK(chown("file", 7, keep));
  CHECK(stat_of("file").st_uid == 7);
  CHECK(stat_of("file").st_gid == 3'000'000'000u);
  REQUIRE_OK(chown("file", keep, 8));
  CHECK(stat_of("file").st_gid == 8);
}

TEST_CASE("A script with the execute bit runs, and without it does not") {
  Here here;
  write_file("script", "#!/bin/sh\nexit 7\n", 0644);
  CHECK_ERROR(access("script", X_OK), EACCES);
  CHECK(in_child([] { return execl("./script", "script", nullptr); }) == "EACCES");
  REQUIRE_OK(chmod("script", 0755));
  CHECK(WEXITSTATUS(system("./script")) == 7);
}
