#include <linux/falloc.h>
#include <sys/sendfile.h>

#include <algorithm>

#include "tests/mount/posix/support.h"

using namespace mount_test;

namespace {
constexpr int keep = FALLOC_FL_KEEP_SIZE;
constexpr int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

std::string zeroed(std::string bytes, std::size_t offset, std::size_t length) {
  length = std::min(length, bytes.size() - offset);
  return bytes.replace(offset, length, length, '\0');
}
}  // namespace

TEST_CASE("fallocate lengthens a file with zeros and keeps what it holds") {
  Here here;
  std::string bytes = pattern(10'000, 1);
  write_file("file", bytes);
  Fd fd(open("file", O_RDWR));
  REQUIRE_OK(fallocate(fd, 0, 5000, 20'000));
  CHECK(stat_of(fd).st_size == 25'000);
  CHECK(read_file("file") == bytes + std::string(15'000, '\0'));
  REQUIRE_OK(fallocate(fd, 0, 0, 100));
  CHECK(stat_of(fd).st_size == 25'000);
  REQUIRE_OK(posix_fallocate(fd, 0, 30'000) == 0 ? 0 : -1);
  CHECK(stat_of(fd).st_size == 30'000);
}

TEST_CASE("fallocate with KEEP_SIZE leaves the size") {
  Here here;
  write_file("file", "abc");
  Fd fd(open("file", O_RDWR));
  REQUIRE_OK(fallocate(fd, keep, 0, 1 << 20));
  CHECK(stat_of(fd).st_size == 3);
  CHECK(read_file("file") == "abc");
  REQUIRE(write_at(fd, "x", 1000));
  CHECK(read_at(fd, 10, 998) == std::string("\0\0x", 3));
}

TEST_CASE("Punching a hole zeroes the range, keeps the size and gives space back") {
  Here here;
  std::string bytes = pattern(1 << 20, 2);
  for (bool flushed : {false, true}) {
    INFO("flushed first " << flushed);
    write_file("file", bytes);
    Fd fd(open("file", O_RDWR));
    if (flushed) REQUIRE_OK(fsync(fd));
    REQUIRE_OK(fallocate(fd, punch, 100'001, 500'000));
    CHECK((read_file("file") == zeroed(bytes, 100'001, 500'000)));
    CHECK(stat_of(fd).st_size == 1 << 20);
    REQUIRE_OK(fsync(fd));
    CHECK(stat_of(fd).st_blocks * 512 < (1 << 20) - 400'000);
    off_t hole = lseek(fd, 0, SEEK_HOLE);
    CHECK(hole >= 100'001);
    CHECK(hole <= 100'001 + 4096);
    CHECK(lseek(fd, 300'000, SEEK_DATA) >= 600'001 - 4096);
    CHECK(lseek(fd, 300'000, SEEK_DATA) <= 600'001);
    // Across and beyond the end: no change of size.
    REQUIRE_OK(fallocate(fd, punch, 1'000'000, 1 << 30));
    CHECK(stat_of(fd).st_size == 1 << 20);
    CHECK(read_at(fd, 10, 1'048'570) == std::string(6, '\0'));
    REQUIRE_OK(fallocate(fd, punch, 1ll << 33, 4096));
    CHECK(stat_of(fd).st_size == 1 << 20);
    // What is written into a hole stays.
    REQUIRE(write_at(fd, "in the hole", 200'000));
    CHECK(read_at(fd, 13, 199'999) == std::string("\0in the hole\0", 13));
  }
}

TEST_CASE("Zeroing a range zeroes it, with the size grown or kept as asked") {
  Here here;
  std::string bytes = pattern(50'000, 3);
  write_file("file", bytes);
  Fd fd(open("file", O_RDWR));
  std::string result = RESULT_OF(fallocate(fd, FALLOC_FL_ZERO_RANGE | keep, 40'000, 20'000));
  REQUIRE(result == "ok");
  CHECK(stat_of(fd).st_size == 50'000);
  CHECK((read_file("file") == zeroed(bytes, 40'000, 10'000)));
  REQUIRE_OK(fallocate(fd, FALLOC_FL_ZERO_RANGE, 100, 5000));
  CHECK((read_file("file") == zeroed(zeroed(bytes, 40'000, 10'000), 100, 5000)));
  REQUIRE_OK(fallocate(fd, FALLOC_FL_ZERO_RANGE, 45'000, 25'000));
  CHECK(stat_of(fd).st_size == 70'000);
  CHECK(read_at(fd, 50'000, 40'000) == std::string(30'000, '\0'));
}

TEST_CASE("fallocate is refused as the manual page says") {
  Here here;
  write_file("file", "abc");
  Fd reader(open("file", O_RDONLY)), dir(open(".", O_RDONLY)), fd(open("file", O_RDWR));
  CHECK_ERROR(fallocate(reader, 0, 0, 10), EBADF);
  CHECK_ERROR(fallocate(dir, 0, 0, 10), EBADF);
  CHECK_ERROR(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 10), EOPNOTSUPP);
  // Collapsing and inserting are offered by ext4 and XFS only; elsewhere EOPNOTSUPP, as documented.
  if (on_fuse()) CHECK_ERROR(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096), EOPNOTSUPP);
  if (on_fuse()) CHECK_ERROR(fallocate(fd, FALLOC_FL_INSERT_RANGE, 0, 4096), EOPNOTSUPP);
  CHECK(read_file("file") == "abc");
}

TEST_CASE("copy_file_range copies between files and within one, at any offset") {
  Here here;
  std::string bytes = pattern(3'000'000, 4);
  write_file("from", bytes);
  Fd from(open("from", O_RDWR)), to(open("to", O_RDWR | O_CREAT, 0644));
  auto copy = [](int in, off_t in_at, int out, off_t out_at, std::size_t length) {
    ssize_t total = 0;
    while (length > 0) {
      ssize_t got = copy_file_range(in, &in_at, out, &out_at, length, 0);
      if (got < 0) return got;
      if (got == 0) break;
      total += got;
      length -= static_cast<std::size_t>(got);
    }
    return total;
  };
  // Unflushed data is copied as well as flushed.
  CHECK(copy(from, 0, to, 0, bytes.size()) == 3'000'000);
  CHECK((read_file("to") == bytes));
  CHECK(copy(from, 1'000'003, to, 17, 500'001) == 500'001);
  CHECK((read_at(to, 500'001, 17) == bytes.substr(1'000'003, 500'001)));
  CHECK(read_at(to, 17, 0) == bytes.substr(0, 17));
  CHECK((read_at(to, 1000, 500'018) == bytes.substr(500'018, 1000)));
  CHECK(copy(from, 2'999'990, to, 5'000'000, 1000) == 10);
  CHECK(stat_of(to).st_size == 5'000'010);
  CHECK(read_at(to, 100, 4'999'999) == std::string("\0", 1) + bytes.substr(2'999'990));
  CHECK(copy(from, 3'000'000, to, 0, 10) == 0);
  // Within one file; overlapping is refused.
  CHECK(copy(from, 0, from, 2'000'000, 10'000) == 10'000);
  CHECK((read_at(from, 10'000, 2'000'000) == bytes.substr(0, 10'000)));
  off_t a = 0, b = 100;
  CHECK_ERROR(copy_file_range(from, &a, from, &b, 1000, 0), EINVAL);
  CHECK_ERROR(copy_file_range(from, &a, to, &b, 1000, 1), EINVAL);
  Fd appended(open("to", O_WRONLY | O_APPEND)), reader(open("to", O_RDONLY)), dir(open(".", O_RDONLY));
  CHECK_ERROR(copy_file_range(from, &a, appended, nullptr, 10, 0), EBADF);
  CHECK_ERROR(copy_file_range(from, &a, reader, &b, 10, 0), EBADF);
  CHECK_ERROR(copy_file_range(dir, nullptr, to, nullptr, 10, 0), EISDIR);
}

TEST_CASE("A copy and its source are independent afterwards") {
  Here here;
  std::string bytes = pattern(1 << 20, 5), changed = pattern(10'000, 6);
  write_file("from", bytes);
  Fd from(open("from", O_RDWR)), to(open("to", O_RDWR | O_CREAT, 0644));
  off_t a = 0, b = 0;
  REQUIRE(copy_file_range(from, &a, to, &b, 1 << 20, 0) == 1 << 20);
  REQUIRE(write_at(from, changed, 123'456));
  std::string expected = bytes;
  expected.replace(123'456, changed.size(), changed);
  CHECK((read_file("from") == expected));
  CHECK((read_file("to") == bytes));
  REQUIRE(write_at(to, changed, 654'321));
  CHECK((read_file("from") == expected));
  REQUIRE_OK(unlink("from"));
  REQUIRE_OK(from.close());
  REQUIRE_OK(fsync(to));
  REQUIRE_OK(posix_fadvise(to, 0, 0, POSIX_FADV_DONTNEED));
  expected = bytes;
  expected.replace(654'321, changed.size(), changed);
  CHECK((read_file("to") == expected));
}

TEST_CASE("sendfile and splice move a file's bytes") {
  Here here;
  std::string bytes = pattern(200'000, 7);
  write_file("from", bytes);
  Fd from(open("from", O_RDONLY)), to(open("to", O_RDWR | O_CREAT, 0644));
  off_t at = 0;
  while (at < 200'000) REQUIRE(sendfile(to, from, &at, 200'000) > 0);
  CHECK((read_file("to") == bytes));
  int ends[2];
  REQUIRE_OK(pipe(ends));
  loff_t in_at = 5, out_at = 0;
  REQUIRE(splice(from, &in_at, ends[1], nullptr, 4096, 0) == 4096);
  REQUIRE(splice(ends[0], nullptr, to, &out_at, 4096, 0) == 4096);
  CHECK(read_at(to, 4096, 0) == bytes.substr(5, 4096));
  close(ends[0]);
  close(ends[1]);
}
