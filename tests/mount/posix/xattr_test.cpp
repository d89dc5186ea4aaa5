#include <sys/xattr.h>

#include <algorithm>
#include <set>

#include "tests/mount/posix/support.h"

using namespace mount_test;

namespace {
int set(const char* path, const std::string& name, std::string_view value, int flags = 0) {
  return lsetxattr(path, name.c_str(), value.data(), value.size(), flags);
}
std::string get(const char* path, const std::string& name) {
  std::string value(70'000, '\0');
  ssize_t got = lgetxattr(path, name.c_str(), value.data(), value.size());
  if (got < 0) return error_name(errno);
  value.resize(static_cast<std::size_t>(got));
  return value;
}
std::set<std::string> list(const char* path) {
  std::string names(70'000, '\0');
  ssize_t got = llistxattr(path, names.data(), names.size());
  REQUIRE(got >= 0);
  std::set<std::string> result;
  for (std::size_t at = 0; at < static_cast<std::size_t>(got);) {
    std::string name = names.c_str() + at;
    at += name.size() + 1;
    result.insert(name);
  }
  return result;
}
}  // namespace

TEST_CASE("User attributes are set, read, listed and removed, with create and replace kept apart") {
  Here here;
  write_file("file", "x");
  REQUIRE_OK(mkdir("dir", 0755));
  for (const char* path : {"file", "dir"}) {
    INFO(path);
    CHECK(get(path, "user.a") == "ENODATA");
    CHECK_ERROR(set(path, "user.a", "1", XATTR_REPLACE), ENODATA);
    CHECK_OK(set(path, "user.a", "1", XATTR_CREATE));
    CHECK_ERROR(set(path, "user.a", "2", XATTR_CREATE), EEXIST);
    CHECK_OK(set(path, "user.a", "twenty-two", XATTR_REPLACE));
    CHECK(get(path, "user.a") == "twenty-two");
    CHECK_OK(set(path, "user.empty", ""));
    CHECK(get(path, "user.empty").empty());
    std::string binary("\0\1\xff\n", 4);
    CHECK_OK(set(path, "user.binary", binary));
    CHECK(get(path, "user.binary") == binary);
    CHECK(list(path) == std::set<std::string>{"user.a", "user.empty", "user.binary"});
    CHECK_OK(removexattr(path, "user.a"));
    CHECK_ERROR(removexattr(path, "user.a"), ENODATA);
    CHECK(list(path) == std::set<std::string>{"user.empty", "user.binary"});
  }
}

TEST_CASE("Sizes are told without a buffer, and ERANGE with one too small") {
  Here here;
  write_file("file", "x");
  REQUIRE_OK(set("file", "user.name", "0123456789"));
  CHECK(getxattr("file", "user.name", nullptr, 0) == 10);
  char small[5];
  CHECK_ERROR(getxattr("file", "user.name", small, sizeof small), ERANGE);
  CHECK(listxattr("file", nullptr, 0) == 10);
  CHECK_ERROR(listxattr("file", small, sizeof small), ERANGE);
}

TEST_CASE("Names and values have the limits that the manual page states") {
  Here here;
  write_file("file", "x");
  std::string longest = "user." + std::string(250, 'n');
  CHECK_OK(set("file", longest, "v"));
  CHECK(get("file", longest) == "v");
  CHECK(list("file").count(longest) == 1);
  CHECK_ERROR(set("file", longest + "n", "v"), ERANGE);
  CHECK_ERROR(set("file", "", "v"), ERANGE);
  CHECK_ERROR(set("file", "user.", "v"), EINVAL);
  CHECK_ERROR(set("file", "nonamespace", "v"), EOPNOTSUPP);
  CHECK_ERROR(set("file", "other.name", "v"), EOPNOTSUPP);
  CHECK_ERROR(set("file", "user.big", std::string(65'537, 'v')), E2BIG);
  CHECK_ERROR(set("file", "user.f", "v", 99), EINVAL);
  // 64 KiB values: the limit of the VFS. ext4 keeps all of a file's attributes in one 4 KiB block (without the ea_inode
  // feature), and says ENOSPC.
  std::string large = pattern(65'536, 1);
  std::string result = RESULT_OF(set("file", "user.large", large));
  if (on_fuse()) CHECK(result == "ok");
  if (result == "ok") CHECK((get("file", "user.large") == large));
  else CHECK(result == "ENOSPC");
  std::string medium = pattern(3000, 1);
  REQUIRE_OK(set("file", "user.medium", medium));
  CHECK(get("file", "user.medium") == medium);
}

TEST_CASE("Many attributes on one file are all kept") {
  Here here;
  write_file("file", "x");
  std::set<std::string> names;
  for (int i = 0; i < 80; ++i) {
    std::string name = "user.number." + std::to_string(i);
    REQUIRE_OK(set("file", name, std::to_string(i * i)));
    names.insert(name);
  }
  CHECK(list("file") == names);
  for (int i = 0; i < 80; ++i) CHECK(get("file", "user.number." + std::to_string(i)) == std::to_string(i * i));
}

TEST_CASE("Attributes follow the file through links and renames, and descriptors reach them") {
  Here here;
  write_file("file", "x");
  REQUIRE_OK(set("file", "user.a", "1"));
  REQUIRE_OK(link("file", "link"));
  REQUIRE_OK(rename("file", "moved"));
  CHECK(get("link", "user.a") == "1");
  CHECK(get("moved", "user.a") == "1");
  Fd fd(open("moved", O_RDONLY));
  REQUIRE_OK(unlink("moved"));
  REQUIRE_OK(unlink("link"));
  char value[4];
  CHECK(fgetxattr(fd, "user.a", value, sizeof value) == 1);
  CHECK_OK(fsetxattr(fd, "user.b", "2", 1, 0));
  CHECK(fgetxattr(fd, "user.b", value, sizeof value) == 1);
}

TEST_CASE("User attributes are for files and directories only, trusted ones for root, security ones for all to read") {
  Here here;
  REQUIRE_OK(symlink("nowhere", "link"));
  REQUIRE_OK(mkfifo("fifo", 0644));
  CHECK_ERROR(set("link", "user.a", "1"), EPERM);
  CHECK_ERROR(set("fifo", "user.a", "1"), EPERM);
  NEEDS_ROOT();
  write_file("file", "x");
  if (can_be_others()) {  // trusted.* needs a capability in the first user namespace
    CHECK_OK(set("file", "trusted.a", "T"));
    CHECK(get("file", "trusted.a") == "T");
    CHECK(list("file").count("trusted.a") == 1);
    CHECK_OK(set("link", "trusted.a", "on a link"));
    CHECK(get("link", "trusted.a") == "on a link");
    CHECK_OK(set("file", "security.atolltest", "S"));
    CHECK(get("file", "security.atolltest") == "S");
    CHECK(list("file").count("security.atolltest") == 1);
    CHECK(as_user(alice, [] {
            char value[8];
            return getxattr("file", "trusted.a", value, sizeof value) == -1 ? -1 : 0;
          }) == "ENODATA");
    CHECK(as_user(alice, [] { return set("file", "trusted.b", "1"); }) == "EPERM");
    CHECK(as_user(alice, [] { return set("file", "security.b", "1"); }) == "EPERM");
    CHECK(as_user(alice, [] {
            char value[8];
            return getxattr("file", "security.atolltest", value, sizeof value) == 1 ? 0 : -1;
          }) == "ok");
    // Write permission on the file is what user attributes need; reading permission to read them.
    CHECK(as_user(alice, [] { return set("file", "user.a", "1"); }) == "EACCES");
    REQUIRE_OK(chmod("file", 0666));
    CHECK(as_user(alice, [] { return set("file", "user.a", "1"); }) == "ok");
    REQUIRE_OK(chmod("file", 0222));
    CHECK(as_user(alice, [] { return static_cast<int>(getxattr("file", "user.a", nullptr, 0)); }) == "EACCES");
  } else {
    skipped("trusted.* and security.* attributes: this user namespace lacks the capability");
  }
}

TEST_CASE("Setting an attribute changes ctime and not mtime") {
  Here here;
  write_file("file", "x");
  Times before = times_of("file");
  let_clock_move();
  REQUIRE_OK(set("file", "user.a", "1"));
  Times after = times_of("file");
  CHECK(after.ctime > before.ctime);
  CHECK(after.mtime == before.mtime);
  let_clock_move();
  REQUIRE_OK(removexattr("file", "user.a"));
  CHECK(times_of("file").ctime > after.ctime);
  CHECK(times_of("file").mtime == before.mtime);
}
