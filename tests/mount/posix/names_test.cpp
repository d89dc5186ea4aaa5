#include <algorithm>
#include <set>

#include "tests/mount/posix/support.h"

using namespace mount_test;

TEST_CASE("A name may be any bytes but slash and zero, and is given back as it was") {
  Here here;
  std::set<std::string> names;
  for (int byte = 1; byte < 256; ++byte) {
    if (byte != '/' && byte != '.') names.insert(std::string(1, static_cast<char>(byte)));
    if (byte != '/') names.insert("n" + std::string(3, static_cast<char>(byte)));
  }
  for (const char* name : {"...", "..a", ".hidden", " ", "  leading", "trailing ", "new\nline", "-rf", "\\", "a\\b", "*?[]",
                           "caf\xc3\xa9", "cafe\xcc\x81", "\xff\xfe\xfd", "CON", "aUx.txt", "\xe2\x80\xae", "case", "CASE"}) {
    names.insert(name);
  }
  for (const std::string& name : names) {
    INFO(name);
    Fd fd(open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0644));
    REQUIRE(fd.is_open());
    REQUIRE(write_at(fd, name, 0));
  }
  std::vector<std::string> listed = names_in(".");
  CHECK(std::set<std::string>(listed.begin(), listed.end()) == names);
  CHECK(listed.size() == names.size());
  for (const std::string& name : names) CHECK(read_file(name) == name);
}

TEST_CASE("A name has up to 255 bytes in every operation, and 256 are too many") {
  Here here;
  for (char fill : {'x', '\xff', '\xc3'}) {
    std::string longest(255, fill), more(256, fill), other(254, fill);
    const char *l = longest.c_str(), *t = more.c_str(), *o = other.c_str();
    write_file(longest, "fits");
    CHECK(names_in(".") == std::vector<std::string>{longest});
    CHECK_OK(link(l, o));
    CHECK_OK(unlink(l));
    CHECK_OK(rename(o, l));
    CHECK(read_file(longest) == "fits");
    CHECK_ERROR(open(t, O_WRONLY | O_CREAT, 0644), ENAMETOOLONG);
    CHECK_ERROR(open(t, O_RDONLY), ENAMETOOLONG);
    CHECK_ERROR(access(t, F_OK), ENAMETOOLONG);
    CHECK_ERROR(mkdir(t, 0755), ENAMETOOLONG);
    CHECK_ERROR(symlink("x", t), ENAMETOOLONG);
    CHECK_ERROR(mkfifo(t, 0644), ENAMETOOLONG);
    CHECK_ERROR(link(l, t), ENAMETOOLONG);
    CHECK_ERROR(rename(l, t), ENAMETOOLONG);
    CHECK_ERROR(rename(t, l), ENAMETOOLONG);
    CHECK_ERROR(unlink(t), ENAMETOOLONG);
    CHECK_ERROR(rmdir(t), ENAMETOOLONG);
    CHECK_OK(unlink(l));
    CHECK_OK(mkdir(l, 0755));
    CHECK_OK(rmdir(l));
  }
}

TEST_CASE("Upper and lower case are different names") {
  Here here;
  write_file("name", "lower");
  write_file("NAME", "upper");
  CHECK(read_file("name") == "lower");
  CHECK(read_file("NAME") == "upper");
  CHECK_ERROR(access("Name", F_OK), ENOENT);
}

TEST_CASE("Paths reach 4095 bytes, and directories nest deeper than any path reaches") {
  Here here;
  // 16 components of 200 bytes are within PATH_MAX; one path names them all.
  std::string deep;
  for (int i = 0; i < 16; ++i) {
    deep += (i > 0 ? "/" : "") + std::string(200, static_cast<char>('a' + i));
    REQUIRE_OK(mkdir(deep.c_str(), 0755));
  }
  write_file(deep + "/file", "deep");
  CHECK(read_file(deep + "/file") == "deep");
  std::string padded = deep + std::string(4095 - deep.size() - 4, '/') + "file";
  REQUIRE(padded.size() == 4095);
  CHECK(read_file(padded) == "deep");
  CHECK_ERROR(open((deep + std::string(4096 - deep.size() - 4, '/') + "file").c_str(), O_RDONLY), ENAMETOOLONG);

  // 600 levels, entered one by one.
  int at = open(".", O_RDONLY | O_DIRECTORY);
  std::vector<ino_t> numbers;
  const int levels = 600;
  for (int i = 0; i < levels; ++i) {
    REQUIRE_OK(mkdirat(at, "level", 0755));
    int next = openat(at, "level", O_RDONLY | O_DIRECTORY);
    REQUIRE(next >= 0);
    close(at);
    at = next;
    numbers.push_back(stat_of(at).st_ino);
  }
  // And back up by "..".
  bool same = true;
  for (int i = levels - 1; i >= 0; --i) {
    same = same && stat_of(at).st_ino == numbers[static_cast<std::size_t>(i)];
    int up = openat(at, "..", O_RDONLY | O_DIRECTORY);
    REQUIRE(up >= 0);
    REQUIRE_OK(close(at));
    at = up;
  }
  CHECK(same);
  CHECK(stat_of(at).st_ino == stat_of(".").st_ino);
  close(at);
}

TEST_CASE("What does not exist is noticed when it appears, and what is gone when it goes") {
  Here here;
  // Names that are not there may be cached by the kernel; making them must end that.
  for (int i = 0; i < 100; ++i) {
    std::string name = "n" + std::to_string(i);
    CHECK_ERROR(access(name.c_str(), F_OK), ENOENT);
    write_file(name, "x");
    CHECK_OK(access(name.c_str(), F_OK));
    std::string other = "m" + std::to_string(i);
    CHECK_ERROR(access(other.c_str(), F_OK), ENOENT);
    REQUIRE_OK(rename(name.c_str(), other.c_str()));
    CHECK_OK(access(other.c_str(), F_OK));
    CHECK_ERROR(access(name.c_str(), F_OK), ENOENT);
    REQUIRE_OK(unlink(other.c_str()));
    CHECK_ERROR(access(other.c_str(), F_OK), ENOENT);
  }
}

TEST_CASE("The inode number that stat tells is the one that listing tells") {
  Here here;
  for (int i = 0; i < 50; ++i) write_file("f" + std::to_string(i), "");
  REQUIRE_OK(mkdir("dir", 0755));
  for (const char* where : {".", "dir"}) {
    DIR* d = opendir(where);
    REQUIRE(d != nullptr);
    int seen = 0;
    while (const dirent* e = readdir(d)) {
      struct stat s {};
      REQUIRE_OK(fstatat(dirfd(d), e->d_name, &s, AT_SYMLINK_NOFOLLOW));
      CHECK(s.st_ino == e->d_ino);
      ++seen;
    }
    closedir(d);
    CHECK(seen == (where == std::string(".") ? 53 : 2));  // with . and ..
  }
}
