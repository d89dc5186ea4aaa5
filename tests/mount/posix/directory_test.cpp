#include <sys/syscall.h>

#include <cstdlib>
#include <map>

#include "tests/mount/posix/support.h"

using namespace mount_test;

namespace {
struct linux_dirent64 {
  ino64_t number;
  off64_t next;
  unsigned short length;
  unsigned char type;
  char name[];
};

/// Reads the next entries of a directory with a buffer of this size, straight from the kernel.
std::vector<std::string> next_entries(int fd, std::size_t buffer_bytes) {
  std::vector<char> buffer(buffer_bytes);
  long got = syscall(SYS_getdents64, fd, buffer.data(), buffer.size());
  if (got < 0) FAIL("getdents64: " << error_name(errno));
  std::vector<std::string> names;
  for (long at = 0; at < got;) {
    auto* entry = reinterpret_cast<linux_dirent64*>(buffer.data() + at);
    names.emplace_back(entry->name);
    at += entry->length;
  }
  return names;
}

int make(const std::string& path) {
  int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0644);
  return fd < 0 ? -1 : close(fd);
}

int entries_wanted() {
  const char* value = std::getenv("ATOLL_TEST_ENTRIES");
  return value != nullptr ? std::atoi(value) : 100'000;
}
}  // namespace

TEST_CASE("A directory of many entries is listed while it changes, nothing skipped and nothing repeated") {
  Here here;
  const int total = entries_wanted();
  REQUIRE_OK(mkdir("many", 0755));
  // keep-* are there throughout; go-* are removed and come-* made while the listing runs.
  for (int i = 0; i < total; ++i) REQUIRE_OK(make((i % 5 == 0 ? "many/go-" : "many/keep-") + std::to_string(i)));
  const int kept = total - (total + 4) / 5;

  Fd dir(open("many", O_RDONLY | O_DIRECTORY));
  std::map<std::string, int> seen;
  int removed = 0, made = 0, moved = 0;
  for (int round = 0;; ++round) {
    std::vector<std::string> names = next_entries(dir, 4096);
    if (names.empty()) break;
    for (const std::string& name : names) ++seen[name];
    // Some of what was just listed and some far away goes; new ones come; kept ones change in other ways.
    // New entries may be shown, and a lister that made some for each that it saw would never end.
    for (int step = 0; step < (made < total / 10 ? 3 : 0); ++step) {
      int victim = (round * 37 + step * 7919) * 5 % total / 5 * 5;
      removed += unlink(("many/go-" + std::to_string(victim)).c_str()) == 0;
      made += make("many/come-" + std::to_string(round) + "-" + std::to_string(step)) == 0;
    }
    for (const std::string& name : names) {
      if (name.rfind("go-", 0) == 0) {
        removed += unlink(("many/" + name).c_str()) == 0;
        break;
      }
    }
    moved += rename(("many/come-" + std::to_string(round) + "-0").c_str(), ("many/came-" + std::to_string(round)).c_str()) == 0;
  }
  INFO("removed " << removed << ", made " << made << ", renamed " << moved);
  CHECK(removed > 0);
  CHECK(made > 0);
  int kept_seen = 0, repeated = 0;
  for (const auto& [name, count] : seen) {
    kept_seen += name.rfind("keep-", 0) == 0;
    repeated += count > 1;
  }
  CHECK(kept_seen == kept);
  CHECK(repeated == 0);
  CHECK(seen.count(".") == 1);
  CHECK(seen.count("..") == 1);

  // Another descriptor starts afresh and sees exactly what is there now.
  std::vector<std::string> now = names_in("many");
  CHECK(now.size() == static_cast<std::size_t>(total - removed + made));
  CHECK(now.size() == std::map<std::string, int>([&] {
                        std::map<std::string, int> unique;
                        for (const std::string& name : now) unique[name] = 1;
                        return unique;
                      }()).size());
  for (const std::string& name : now) {
    if (unlinkat(AT_FDCWD, ("many/" + name).c_str(), 0) != 0) FAIL_CHECK("cannot remove " << name << ": " << error_name(errno));
  }
  CHECK(names_in("many").empty());
  CHECK_OK(rmdir("many"));
}

TEST_CASE("A listing deletes as it goes, as rm -r does, and leaves nothing") {
  Here here;
  REQUIRE_OK(mkdir("dir", 0755));
  for (int i = 0; i < 3000; ++i) REQUIRE_OK(make("dir/" + std::to_string(i)));
  DIR* d = opendir("dir");
  REQUIRE(d != nullptr);
  int removed = 0;
  while (const dirent* e = readdir(d)) {
    if (e->d_name[0] != '.') removed += unlinkat(dirfd(d), e->d_name, 0) == 0;
  }
  closedir(d);
  CHECK(removed == 3000);
  CHECK_OK(rmdir("dir"));
}

TEST_CASE("telldir and seekdir come back to the same entry") {
  Here here;
  for (int i = 0; i < 500; ++i) REQUIRE_OK(make(std::to_string(i)));
  DIR* d = opendir(".");
  REQUIRE(d != nullptr);
  std::vector<std::pair<long, std::string>> places;
  for (;;) {
    long place = telldir(d);
    const dirent* e = readdir(d);
    if (e == nullptr) break;
    places.emplace_back(place, e->d_name);
  }
  CHECK(places.size() == 502);
  bool same = true;
  for (std::size_t i = 0; i < places.size(); i += 17) {
    std::size_t which = i * 31 % places.size();
    seekdir(d, places[which].first);
    const dirent* e = readdir(d);
    same = same && e != nullptr && places[which].second == e->d_name;
  }
  CHECK(same);
  // rewinddir shows what was made since.
  REQUIRE_OK(make("late"));
  rewinddir(d);
  int late = 0;
  while (const dirent* e = readdir(d)) late += std::string(e->d_name) == "late";
  CHECK(late == 1);
  closedir(d);
}

TEST_CASE("Two descriptors list one directory independently, and a duplicate shares its place") {
  Here here;
  for (int i = 0; i < 200; ++i) REQUIRE_OK(make("a-rather-long-name-to-fill-buffers-" + std::to_string(i)));
  Fd a(open(".", O_RDONLY | O_DIRECTORY)), b(open(".", O_RDONLY | O_DIRECTORY));
  Fd copy(dup(a));
  std::vector<std::string> first = next_entries(a, 2048);
  CHECK(next_entries(b, 2048) == first);
  std::vector<std::string> second = next_entries(copy, 2048);
  CHECK(second != first);
  CHECK(next_entries(b, 2048) == second);
  CHECK(lseek(a, 0, SEEK_SET) == 0);
  CHECK(next_entries(a, 2048) == first);
  char tiny[8];
  CHECK_ERROR(static_cast<int>(syscall(SYS_getdents64, b.operator int(), tiny, sizeof tiny)), EINVAL);
}

TEST_CASE("Entry types are told by listing") {
  Here here;
  REQUIRE_OK(make("file"));
  REQUIRE_OK(mkdir("dir", 0755));
  REQUIRE_OK(symlink("x", "sym"));
  REQUIRE_OK(mkfifo("fifo", 0600));
  std::map<std::string, int> expected{{"file", DT_REG}, {"dir", DT_DIR}, {"sym", DT_LNK}, {"fifo", DT_FIFO}, {".", DT_DIR}, {"..", DT_DIR}};
  DIR* d = opendir(".");
  while (const dirent* e = readdir(d)) {
    INFO(e->d_name);
    CHECK((e->d_type == expected[e->d_name] || e->d_type == DT_UNKNOWN));
  }
  closedir(d);
}

TEST_CASE("Several processes make and remove entries in one directory, and the end is what they left") {
  Here here;
  REQUIRE_OK(mkdir("shared", 0755));
  std::vector<pid_t> children;
  for (int who = 0; who < 4; ++who) {
    pid_t pid = fork();
    if (pid == 0) {
      std::string mine = "shared/p" + std::to_string(who) + "-";
      for (int i = 0; i < 500; ++i) {
        if (make(mine + std::to_string(i)) != 0) _exit(1);
        if (i % 2 == 1 && unlink((mine + std::to_string(i)).c_str()) != 0) _exit(2);
        if (i % 10 == 0 && rename((mine + std::to_string(i)).c_str(), (mine + "moved" + std::to_string(i)).c_str()) != 0) _exit(3);
      }
      _exit(0);
    }
    children.push_back(pid);
  }
  for (pid_t pid : children) {
    int status = -1;
    waitpid(pid, &status, 0);
    CHECK(status == 0);
  }
  std::vector<std::string> names = names_in("shared");
  CHECK(names.size() == 4 * 250);
  int moved = 0;
  for (const std::string& name : names) moved += name.find("moved") != std::string::npos;
  CHECK(moved == 4 * 50);
}
