#include <linux/fs.h>

#include <cstdio>

#include "tests/mount/posix/support.h"

using namespace mount_test;

namespace {
int rename2(const char* from, const char* to, unsigned flags) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, flags); }
}  // namespace

TEST_CASE("A rename moves a file and replaces what had the name") {
  Here here;
  write_file("a", "A");
  write_file("b", "B");
  ino_t a = stat_of("a").st_ino;
  Fd open_b(open("b", O_RDONLY)), open_a(open("a", O_RDWR));
  REQUIRE_OK(rename("a", "b"));
  CHECK_ERROR(access("a", F_OK), ENOENT);
  CHECK(stat_of("b").st_ino == a);
  CHECK(read_file("b") == "A");
  // Both that were open stay usable; the replaced one has no name left.
  CHECK(stat_of(open_b).st_nlink == 0);
  CHECK(read_at(open_b, 10, 0) == "B");
  REQUIRE(write_at(open_a, "AA", 0));
  CHECK(read_file("b") == "AA");
  CHECK(names_in(".") == std::vector<std::string>{"b"});
}

TEST_CASE("Renaming to the same name, or to another link of the same file, changes nothing") {
  Here here;
  write_file("a", "A");
  REQUIRE_OK(link("a", "b"));
  CHECK_OK(rename("a", "a"));
  CHECK_OK(rename("a", "b"));
  CHECK(names_in(".") == std::vector<std::string>{"a", "b"});
  CHECK(stat_of("a").st_nlink == 2);
}

TEST_CASE("Directories move with what is in them, and their parents' link counts follow") {
  Here here;
  REQUIRE_OK(mkdir("from", 0755));
  REQUIRE_OK(mkdir("to", 0755));
  REQUIRE_OK(mkdir("from/dir", 0755));
  write_file("from/dir/file", "x");
  nlink_t from = stat_of("from").st_nlink, to = stat_of("to").st_nlink;
  Fd inside(open("from/dir", O_RDONLY | O_DIRECTORY));
  REQUIRE_OK(rename("from/dir", "to/moved"));
  CHECK(read_file("to/moved/file") == "x");
  CHECK(stat_of("from").st_nlink == from - 1);
  CHECK(stat_of("to").st_nlink == to + 1);
  // An open directory goes on, and its ".." is the new parent.
  struct stat up {};
  REQUIRE_OK(fstatat(inside, "..", &up, 0));
  CHECK(up.st_ino == stat_of("to").st_ino);
  int made = openat(inside, "made", O_WRONLY | O_CREAT, 0644);
  CHECK(made >= 0);
  close(made);
  CHECK(names_in("to/moved") == std::vector<std::string>{"file", "made"});
}

TEST_CASE("A directory replaces an empty directory only") {
  Here here;
  REQUIRE_OK(mkdir("a", 0755));
  REQUIRE_OK(mkdir("b", 0755));
  REQUIRE_OK(mkdir("full", 0755));
  write_file("full/x", "");
  write_file("file", "");
  ino_t a = stat_of("a").st_ino;
  CHECK_OK(rename("a", "b"));
  CHECK(stat_of("b").st_ino == a);
  CHECK(([&] {
    std::string result = RESULT_OF(rename("b", "full"));
    return result == "ENOTEMPTY" || result == "EEXIST";
  }()));
  CHECK_ERROR(rename("file", "b"), EISDIR);
  CHECK_ERROR(rename("b", "file"), ENOTDIR);
  CHECK_ERROR(rename("none", "b"), ENOENT);
  CHECK_ERROR(rename("file", "none/x"), ENOENT);
  CHECK_ERROR(rename("file", "full/x/y"), ENOTDIR);
  CHECK_ERROR(rename("file", ""), ENOENT);
  CHECK_ERROR(rename("file/", "x"), ENOTDIR);
  CHECK_OK(rename("b/", "c/"));
}

TEST_CASE("A directory cannot move into itself or below itself") {
  Here here;
  REQUIRE_OK(mkdir("a", 0755));
  REQUIRE_OK(mkdir("a/b", 0755));
  REQUIRE_OK(mkdir("a/b/c", 0755));
  CHECK_ERROR(rename("a", "a/x"), EINVAL);
  CHECK_ERROR(rename("a", "a/b/c/x"), EINVAL);
  CHECK_ERROR(rename("a", "a/b/c"), EINVAL);
  CHECK_ERROR(rename2("a", "a/b/c", RENAME_EXCHANGE), EINVAL);
  // The other way round, the target holds the source.
  CHECK_ERROR(rename("a/b/c", "a/b"), ENOTEMPTY);
  CHECK_ERROR(rename("a/.", "x"), EBUSY);
  CHECK_ERROR(rename("a", "/dev/atoll-rename"), EXDEV);
  CHECK(stat_of("a/b/c").st_nlink == 2);
}

TEST_CASE("RENAME_NOREPLACE leaves what is there") {
  Here here;
  write_file("a", "A");
  write_file("b", "B");
  REQUIRE_OK(mkdir("d", 0755));
  CHECK_ERROR(rename2("a", "b", RENAME_NOREPLACE), EEXIST);
  CHECK_ERROR(rename2("a", "d", RENAME_NOREPLACE), EEXIST);
  CHECK_ERROR(rename2("a", "a", RENAME_NOREPLACE), EEXIST);
  REQUIRE_OK(symlink("nowhere", "s"));
  CHECK_ERROR(rename2("a", "s", RENAME_NOREPLACE), EEXIST);
  CHECK(read_file("b") == "B");
  CHECK_OK(rename2("a", "c", RENAME_NOREPLACE));
  CHECK(read_file("c") == "A");
  CHECK_ERROR(rename2("c", "b", RENAME_NOREPLACE | RENAME_EXCHANGE), EINVAL);
  CHECK_ERROR(rename2("c", "b", 1u << 20), EINVAL);
}

TEST_CASE("RENAME_EXCHANGE swaps files, directories and one for the other, open or not") {
  Here here;
  REQUIRE_OK(mkdir("p", 0755));
  REQUIRE_OK(mkdir("q", 0755));
  write_file("p/file", "F");
  REQUIRE_OK(mkdir("q/dir", 0755));
  write_file("q/dir/inner", "I");
  ino_t file = stat_of("p/file").st_ino, dir = stat_of("q/dir").st_ino;
  nlink_t p = stat_of("p").st_nlink, q = stat_of("q").st_nlink;
  Fd opened(open("p/file", O_RDWR)), inside(open("q/dir", O_RDONLY | O_DIRECTORY));
  CHECK_ERROR(rename2("p/file", "q/none", RENAME_EXCHANGE), ENOENT);
  REQUIRE_OK(rename2("p/file", "q/dir", RENAME_EXCHANGE));
  CHECK(stat_of("q/dir").st_ino == file);
  CHECK(stat_of("p/file").st_ino == dir);
  CHECK(read_file("p/file/inner") == "I");
  CHECK(stat_of("p").st_nlink == p + 1);
  CHECK(stat_of("q").st_nlink == q - 1);
  struct stat up {};
  REQUIRE_OK(fstatat(inside, "..", &up, 0));
  CHECK(up.st_ino == stat_of("p").st_ino);
  REQUIRE(write_at(opened, "G", 0));
  CHECK(read_file("q/dir") == "G");
  CHECK(stat_of(opened).st_nlink == 1);

  write_file("x", "X");
  write_file("y", "Y");
  REQUIRE_OK(rename2("x", "y", RENAME_EXCHANGE));
  CHECK(read_file("x") == "Y");
  CHECK(read_file("y") == "X");
  CHECK_OK(rename2("x", "x", RENAME_EXCHANGE));
}

TEST_CASE("A symlink is renamed itself, not what it points to") {
  Here here;
  write_file("target", "T");
  REQUIRE_OK(symlink("target", "link"));
  REQUIRE_OK(rename("link", "moved"));
  CHECK(S_ISLNK(stat_of("moved").st_mode));
  CHECK(read_file("moved") == "T");
  write_file("other", "O");
  REQUIRE_OK(rename("other", "moved"));
  CHECK(S_ISREG(stat_of("moved").st_mode));
  CHECK(read_file("target") == "T");
}

TEST_CASE("While a file is replaced by renames, its name is always there and always whole") {
  Here here;
  std::string one(5000, '1'), two(5000, '2');
  write_file("name", one);
  pid_t pid = fork();
  if (pid == 0) {
    for (int i = 0; i < 300; ++i) {
      int fd = open("temporary", O_WRONLY | O_CREAT | O_TRUNC, 0644);
      const std::string& bytes = i % 2 == 0 ? two : one;
      if (write(fd, bytes.data(), bytes.size()) != 5000) _exit(1);
      close(fd);
      if (rename("temporary", "name") != 0) _exit(2);
    }
    _exit(0);
  }
  int status = 0, reads = 0;
  bool whole = true;
  while (waitpid(pid, &status, WNOHANG) == 0) {
    std::string seen = read_file("name");
    whole = whole && (seen == one || seen == two);
    ++reads;
  }
  INFO("after " << reads << " reads");
  CHECK(whole);
  CHECK(status == 0);
}
