// The FUSE layer under the real kernel, over a drive in memory. Where /dev/fuse is closed these tests say so and pass.
#include <dirent.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <future>
#include <iostream>
#include <mutex>
#include <set>
#include <thread>

#include "fs/fuse/session.h"
#include "fs/mount/mount_point.h"
#include "tests/support/eventually.h"
#include "tests/support/fake_drive.h"
#include "tests/support/temporary_folder.h"

using namespace atl;

namespace {

/// A mounted drive; absent where this machine does not let us mount.
struct Mounted {
  TemporaryFolder folder;
  FakeDrive drive;
  SystemClock clock;
  std::unique_ptr<Session> session;
  std::atomic<bool> ended{false};

  explicit Mounted(SessionOptions options = {}) {
    if (auto access = check_fuse_access(); !access) {
      std::cerr << "fallback: not mounted, " << access.error().what << "\n";
      return;
    }
    options.mount_point = folder.path();
    options.fuse_options = {"default_permissions", "subtype=atoll", "fsname=atoll:test"};
    auto mounted = Session::mount(drive, clock, options);
    if (!mounted) {
      std::cerr << "fallback: not mounted, " << mounted.error().what << "\n";
      return;
    }
    session = std::move(*mounted);
    session->start([this] { ended = true; });
  }
  explicit operator bool() const { return session != nullptr; }
  std::string operator/(const std::string& name) const { return folder / name; }
};

struct Fd {
  int number;
  explicit Fd(int number_) : number(number_) {}
  ~Fd() {
    if (number >= 0) ::close(number);
  }
  operator int() const { return number; }
};

Fd create(const std::string& path, int flags = O_RDWR) { return Fd(::open(path.c_str(), flags | O_CREAT | O_CLOEXEC, 0644)); }

}  // namespace

TEST_CASE("A file written through the mount reads back the same") {
  Mounted mounted;
  if (!mounted) return;
  {
    const Fd file = create(mounted / "file");
    REQUIRE(file >= 0);
    REQUIRE(::pwrite(file, "hello", 5, 0) == 5);
    REQUIRE(::fsync(file) == 0);
  }
  CHECK(mounted.drive.commits() == 1);
  REQUIRE(mounted.session->drop_pages(std::chrono::seconds(5)));
  const Fd file(::open((mounted / "file").c_str(), O_RDONLY));
  char text[16] = {};
  CHECK(::read(file, text, sizeof text) == 5);
  CHECK(std::string(text) == "hello");
}

TEST_CASE("Data that is still in the kernel's cache counts as data for SEEK_DATA and SEEK_HOLE") {
  Mounted mounted;
  if (!mounted) return;
  const Fd file = create(mounted / "sparse");
  REQUIRE(::ftruncate(file, 1 << 20) == 0);
  REQUIRE(::pwrite(file, "x", 1, 512 << 10) == 1);  // dirty in the kernel, unknown to the drive
  CHECK(::lseek(file, 0, SEEK_DATA) == 512 << 10);
  CHECK(::lseek(file, 512 << 10, SEEK_HOLE) == (512 << 10) + 4096);
  CHECK(::lseek(file, 0, SEEK_HOLE) == 0);
  REQUIRE(::pwrite(file, "y", 1, (1 << 20) + 10) == 1);  // beyond the end that the drive knows
  CHECK(::lseek(file, 1 << 20, SEEK_DATA) == 1 << 20);
  CHECK(::lseek(file, 1 << 20, SEEK_HOLE) == (1 << 20) + 11);
  errno = 0;
  CHECK(::lseek(file, 2 << 20, SEEK_DATA) == -1);
  CHECK(errno == ENXIO);
}

TEST_CASE("Many programs looking for holes at once do not lock each other out") {
  Mounted mounted;
  if (!mounted) return;
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int i = 0; i < 100; ++i) {
    threads.emplace_back([&, i] {
      const Fd file = create(mounted / ("f" + std::to_string(i)));
      if (::pwrite(file, "x", 1, 8192) == 1 && ::lseek(file, 0, SEEK_DATA) == 8192) ++right;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(right == 100);
}

TEST_CASE("An open truncates, appends and goes past the cache as its flags say") {
  Mounted mounted;
  if (!mounted) return;
  const std::string path = mounted / "file";
  {
    const Fd file = create(path);
    REQUIRE(::write(file, "0123456789", 10) == 10);
  }
  {
    const Fd file(::open(path.c_str(), O_WRONLY | O_APPEND));
    REQUIRE(::write(file, "ab", 2) == 2);
  }
  struct stat stat {};
  REQUIRE(::stat(path.c_str(), &stat) == 0);
  CHECK(stat.st_size == 12);
  {
    const Fd file(::open(path.c_str(), O_RDONLY | O_DIRECT));
    alignas(4096) static char page[4096];
    CHECK(::read(file, page, sizeof page) == 12);
    CHECK(std::string(page, 12) == "0123456789ab");
  }
  {
    const Fd file(::open(path.c_str(), O_WRONLY | O_TRUNC));
    REQUIRE(file >= 0);
  }
  REQUIRE(::stat(path.c_str(), &stat) == 0);
  CHECK(stat.st_size == 0);
  CHECK(::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0600) == -1);
  CHECK(errno == EEXIST);
  const Fd read_only_mode = Fd(::open((mounted / "mode0").c_str(), O_CREAT | O_RDWR, 0));
  CHECK(::write(read_only_mode, "x", 1) == 1);
}

TEST_CASE("An unlinked file lives until it is closed, and can be opened again through /proc") {
  Mounted mounted;
  if (!mounted) return;
  {
    const Fd file = create(mounted / "gone");
    REQUIRE(::write(file, "data", 4) == 4);
    REQUIRE(::unlink((mounted / "gone").c_str()) == 0);
    const Fd again(::open(("/proc/self/fd/" + std::to_string(file)).c_str(), O_RDONLY));
    REQUIRE(again >= 0);
    char text[8] = {};
    CHECK(::read(again, text, sizeof text) == 4);
    struct stat stat {};
    REQUIRE(::fstat(file, &stat) == 0);
    CHECK(stat.st_nlink == 0);
  }
  CHECK(eventually([&] { return mounted.drive.lookups_held() == 0; }));
}

TEST_CASE("A directory that changes while it is listed shows no entry twice and skips none that stays") {
  Mounted mounted;
  if (!mounted) return;
  constexpr int count = 5000;
  for (int i = 0; i < count; ++i) REQUIRE(create(mounted / ("stay" + std::to_string(i))) >= 0);
  std::atomic<bool> stop{false};
  std::thread other([&] {
    for (int i = 0; !stop; ++i) {
      const std::string name = mounted / ("come" + std::to_string(i % 50));
      ::close(::open(name.c_str(), O_CREAT | O_WRONLY, 0644));
      ::unlink(name.c_str());
    }
  });
  for (int round = 0; round < 5; ++round) {
    std::multiset<std::string> seen;
    DIR* directory = ::opendir(mounted.folder.path().c_str());
    while (const dirent* entry = ::readdir(directory))
      if (std::string(entry->d_name).starts_with("stay")) seen.insert(entry->d_name);
    ::closedir(directory);
    CHECK(seen.size() == count);
    CHECK(std::set<std::string>(seen.begin(), seen.end()).size() == count);
  }
  stop = true;
  other.join();
}

TEST_CASE("Rename can refuse to replace and can exchange") {
  Mounted mounted;
  if (!mounted) return;
  const std::string a = mounted / "a";
  const std::string b = mounted / "b";
  ::close(::open(a.c_str(), O_CREAT | O_WRONLY, 0600));
  ::mkdir(b.c_str(), 0700);
  CHECK(::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_NOREPLACE) == -1);
  CHECK(errno == EEXIST);
  CHECK(::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0);
  struct stat stat {};
  REQUIRE(::stat(a.c_str(), &stat) == 0);
  CHECK(S_ISDIR(stat.st_mode));
  CHECK(::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, (mounted / "c").c_str(), RENAME_WHITEOUT) == -1);
  CHECK((errno == EINVAL || errno == EPERM));
}

TEST_CASE("Extended attributes come back, and what is absent says so") {
  Mounted mounted;
  if (!mounted) return;
  const std::string path = mounted / "file";
  ::close(::open(path.c_str(), O_CREAT | O_WRONLY, 0600));
  REQUIRE(::setxattr(path.c_str(), "user.color", "red", 3, 0) == 0);
  char value[8] = {};
  CHECK(::getxattr(path.c_str(), "user.color", value, sizeof value) == 3);
  CHECK(::getxattr(path.c_str(), "user.color", value, 1) == -1);
  CHECK(errno == ERANGE);
  CHECK(::getxattr(path.c_str(), "user.none", value, sizeof value) == -1);
  CHECK(errno == ENODATA);
  CHECK(::setxattr(path.c_str(), "user.color", "x", 1, XATTR_CREATE) == -1);
  CHECK(errno == EEXIST);
  CHECK(::setxattr(path.c_str(), "system.other", "x", 1, 0) == -1);
  CHECK(errno == EOPNOTSUPP);
  char names[64];
  CHECK(::listxattr(path.c_str(), names, sizeof names) == 11);
}

TEST_CASE("Reads that wait for nodes keep nothing else from being answered") {
  Mounted mounted;
  if (!mounted) return;
  std::promise<void> release;
  std::atomic<int> waiting{0};
  mounted.drive.before_read = [&, released = release.get_future().share()](InodeNumber, std::stop_token) -> Result<> {
    ++waiting;
    released.wait();
    return {};
  };
  for (int i = 0; i < 200; ++i) {
    const Fd file = create(mounted / ("f" + std::to_string(i)));
    REQUIRE(::ftruncate(file, 100) == 0);
  }
  std::vector<std::thread> readers;
  for (int i = 0; i < 200; ++i)
    readers.emplace_back([&, i] {
      const Fd file(::open((mounted / ("f" + std::to_string(i))).c_str(), O_RDONLY));
      char byte = 0;
      static_cast<void>(::read(file, &byte, 1));
    });
  REQUIRE(eventually([&] { return waiting >= 48; }));
  struct statvfs space {};
  CHECK(::statvfs(mounted.folder.path().c_str(), &space) == 0);
  CHECK(::mkdir((mounted / "made meanwhile").c_str(), 0700) == 0);
  const Fd file = create(mounted / "written meanwhile");
  CHECK(::write(file, "x", 1) == 1);
  release.set_value();
  for (std::thread& reader : readers) reader.join();
  CHECK(waiting >= 200);
}

TEST_CASE("A killed program does not wait for nodes") {
  Mounted mounted;
  if (!mounted) return;
  std::atomic<int> waiting{0};
  std::atomic<bool> was_stopped{false};
  mounted.drive.before_read = [&](InodeNumber, std::stop_token stop) -> Result<> {
    ++waiting;
    std::mutex mutex;
    std::unique_lock lock(mutex);
    std::condition_variable_any().wait_for(lock, stop, std::chrono::seconds(30), [] { return false; });
    was_stopped = stop.stop_requested();
    return fail(Code::cancelled, "stopped");
  };
  const std::string path = mounted / "file";
  {
    const Fd file = create(path);
    REQUIRE(::ftruncate(file, 4096) == 0);
  }
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGUSR1, [](int) {});
    ::signal(SIGTERM, SIG_DFL);  // the test program has a handler
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECT);
    alignas(4096) static char page[4096];
    static_cast<void>(::read(fd, page, sizeof page));
    _exit(0);
  }
  REQUIRE(eventually([&] { return waiting > 0; }));
  ::kill(child, SIGUSR1);  // not fatal: the read goes on
  CHECK(!eventually([&] { return was_stopped.load(); }, std::chrono::milliseconds(200)));
  ::kill(child, SIGTERM);
  int status = 0;
  CHECK(::waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(eventually([&] { return was_stopped.load(); }));
}

TEST_CASE("Writing back hands over what programs with open files have written") {
  Mounted mounted;
  if (!mounted) return;
  const Fd file = create(mounted / "file");
  const std::string text(3 << 20, 'x');
  REQUIRE(::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  REQUIRE(mounted.session->write_back(std::chrono::seconds(10)));
  struct stat stat {};
  REQUIRE(::fstat(file, &stat) == 0);
  const auto attributes = mounted.drive.attributes(InodeNumber(stat.st_ino));
  REQUIRE(attributes);
  CHECK(attributes->size == text.size());
  CHECK(attributes->allocated_bytes == text.size());
}

TEST_CASE("A busy mount is not taken away, unless lazily; its session ends all the same") {
  Mounted mounted;
  if (!mounted) return;
  const Fd file = create(mounted / "file");
  auto detached = mounted.session->detach(false);
  REQUIRE(!detached);
  CHECK(detached.error().code == Code::busy);
  CHECK(mounted.session->detach(true));
  CHECK(!mount_at(mounted.folder.path()));
  mounted.session.reset();
  static_cast<void>(::pwrite(file, "x", 1, 0));
  CHECK(::fsync(file) == -1);  // an error, not a program that hangs for ever
}

TEST_CASE("A mount that is taken away from outside ends its session") {
  Mounted mounted;
  if (!mounted) return;
  REQUIRE(unmount(mounted.folder.path(), false));
  CHECK(eventually([&] { return mounted.ended.load(); }));
}

TEST_CASE("A mount left dead is detached by the next one") {
  TemporaryFolder folder;
  if (!check_fuse_access()) return;
  const pid_t child = ::fork();
  if (child == 0) {
    FakeDrive drive;
    SystemClock clock;
    SessionOptions options;
    options.mount_point = folder.path();
    auto mounted = Session::mount(drive, clock, options);
    _exit(mounted ? 0 : 1);  // no destructor: as after a crash
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  if (WEXITSTATUS(status) != 0) return;
  struct stat stat {};
  REQUIRE(::stat(folder.path().c_str(), &stat) == -1);
  REQUIRE(errno == ENOTCONN);
  CHECK(resolve_mount_point(folder.path()).value() == folder.path());
  CHECK(prepare_mount_point(folder.path(), {}));
  CHECK(::stat(folder.path().c_str(), &stat) == 0);
}
