#include <sys/statvfs.h>
#include <sys/vfs.h>

#include <cstdint>
#include <limits>

#include "tests/mount/posix/support.h"

using namespace mount_test;

namespace {
constexpr off_t tib = off_t{1} << 40;
}

TEST_CASE("Truncating shortens, and lengthens with zeros, never with old bytes") {
  Here here;
  std::string bytes = pattern(100'000, 1);
  Fd fd(open("file", O_RDWR | O_CREAT, 0644));
  REQUIRE(write_at(fd, bytes, 0));
  for (bool flushed : {false, true}) {
    INFO("flushed " << flushed);
    REQUIRE(write_at(fd, bytes, 0));
    if (flushed) REQUIRE_OK(fsync(fd));
    REQUIRE_OK(ftruncate(fd, 50'001));
    CHECK(stat_of("file").st_size == 50'001);
    CHECK(read_file("file") == bytes.substr(0, 50'001));
    REQUIRE_OK(ftruncate(fd, 90'000));
    CHECK(read_file("file") == bytes.substr(0, 50'001) + std::string(39'999, '\0'));
    REQUIRE_OK(truncate("file", 7));
    REQUIRE_OK(truncate("file", 5000));
    CHECK(read_file("file") == bytes.substr(0, 7) + std::string(4993, '\0'));
    REQUIRE_OK(truncate("file", 0));
    CHECK(read_file("file").empty());
    REQUIRE_OK(truncate("file", 100'000));
    CHECK(read_file("file") == std::string(100'000, '\0'));
  }
}

TEST_CASE("Truncating fails as the manual page says") {
  Here here;
  write_file("file", "x");
  REQUIRE_OK(mkdir("dir", 0755));
  CHECK_ERROR(truncate("none", 0), ENOENT);
  CHECK_ERROR(truncate("dir", 0), EISDIR);
  CHECK_ERROR(truncate("file", -1), EINVAL);
  CHECK_ERROR(truncate("file/x", 0), ENOTDIR);
}

TEST_CASE("Absurd sizes are refused at once and change nothing") {
  Here here;
  write_file("file", "kept");
  Fd fd(open("file", O_RDWR));
  const off_t most = std::numeric_limits<off_t>::max();
  CHECK_ERROR(ftruncate(fd, most), EFBIG);
  CHECK_ERROR(truncate("file", most - 4096), EFBIG);
  CHECK_ERROR(ftruncate(fd, -1), EINVAL);
  CHECK_ERROR(ftruncate(fd, std::numeric_limits<off_t>::min()), EINVAL);
  CHECK_ERROR(fallocate(fd, 0, most - 1, 2), EFBIG);
  CHECK_ERROR(fallocate(fd, 0, 0, 0), EINVAL);
  CHECK_ERROR(fallocate(fd, 0, -1, 10), EINVAL);
  CHECK_ERROR(fallocate(fd, 0, 0, -1), EINVAL);
  CHECK(read_file("file") == "kept");
}

TEST_CASE("A write at an absurd offset is refused, at the latest by fsync") {
  Here here;
  Fd fd(open("file", O_RDWR | O_CREAT, 0644));
  // With FUSE's write-back cache the kernel takes any offset below 2^63 into the page cache; the file system first hears
  // of it when the page is written back, and fsync is where POSIX has such errors reported.
  std::string result = RESULT_OF(pwrite(fd, "x", 1, std::numeric_limits<off_t>::max() - 1));
  if (on_fuse() && result == "ok") result = RESULT_OF(fsync(fd));
  CHECK(result == "EFBIG");
}

TEST_CASE("A sparse file of a tebibyte takes next to no space and reads back at any place") {
  Here here;
  Fd fd(open("huge", O_RDWR | O_CREAT, 0644));
  REQUIRE_OK(ftruncate(fd, tib));
  CHECK(stat_of("huge").st_size == tib);
  CHECK(read_at(fd, 10, tib - 5) == std::string(5, '\0'));
  REQUIRE(write_at(fd, "middle", tib / 2 + 3));
  REQUIRE(write_at(fd, "beyond the end", tib + tib));
  REQUIRE_OK(fsync(fd));
  CHECK(stat_of("huge").st_size == tib + tib + 14);
  CHECK(stat_of("huge").st_blocks * 512 < (1 << 20));
  CHECK(read_at(fd, 8, tib / 2 + 2) == std::string("\0middle\0", 8));
  CHECK(read_at(fd, 100, tib + tib - 1) == std::string("\0", 1) + "beyond the end");
  CHECK(lseek(fd, 0, SEEK_END) == tib + tib + 14);
  REQUIRE_OK(ftruncate(fd, tib));
  REQUIRE_OK(ftruncate(fd, 3));
  CHECK(read_file("huge") == std::string(3, '\0'));
}

TEST_CASE("SEEK_DATA never overlooks what was just written, flushed or not") {
  Here here;
  for (off_t offset : {off_t{0}, off_t{4096}, off_t{1} << 20, off_t{5'000'001}}) {
    INFO("offset " << offset);
    std::string name = "file" + std::to_string(offset);
    Fd fd(open(name.c_str(), O_RDWR | O_CREAT, 0644));
    REQUIRE(write_at(fd, pattern(20'000, 1), offset));
    // Not flushed. A tool that copies sparsely would lose bytes if the data were reported as a hole.
    off_t data = lseek(fd, 0, SEEK_DATA);
    CHECK(data >= 0);
    CHECK(data <= offset);
    CHECK(lseek(fd, offset + 10'000, SEEK_DATA) == offset + 10'000);
    CHECK(lseek(fd, offset, SEEK_HOLE) == offset + 20'000);
    // A second descriptor, and data added into what was a hole.
    Fd other(open(name.c_str(), O_RDONLY));
    REQUIRE_OK(ftruncate(fd, offset + (1 << 22)));
    REQUIRE(write_at(fd, "late", offset + (1 << 21)));
    CHECK(lseek(other, offset + (1 << 21), SEEK_DATA) == offset + (1 << 21));
    off_t hole = lseek(other, offset + (1 << 21), SEEK_HOLE);
    CHECK(hole >= offset + (1 << 21) + 4);
    CHECK_ERROR(lseek(other, offset + (1 << 22), SEEK_DATA), ENXIO);
    CHECK_ERROR(lseek(other, offset + (1 << 22), SEEK_HOLE), ENXIO);
  }
}

TEST_CASE("Holes are found where they are once data is flushed") {
  Here here;
  Fd fd(open("file", O_RDWR | O_CREAT, 0644));
  const off_t step = 1 << 20;
  for (int i = 1; i <= 5; i += 2) REQUIRE(write_at(fd, pattern(65536, 1), i * step));
  REQUIRE_OK(ftruncate(fd, 7 * step));
  REQUIRE_OK(fsync(fd));
  CHECK(lseek(fd, 0, SEEK_HOLE) == 0);
  for (int i = 1; i <= 5; i += 2) {
    CHECK(lseek(fd, (i - 1) * step, SEEK_DATA) == i * step);
    CHECK(lseek(fd, i * step, SEEK_HOLE) == i * step + 65536);
  }
  CHECK_ERROR(lseek(fd, 6 * step, SEEK_DATA), ENXIO);
  CHECK(lseek(fd, 6 * step, SEEK_HOLE) == 6 * step);
  CHECK(stat_of(fd).st_blocks * 512 < 2 * step);
  CHECK_ERROR(lseek(fd, 7 * step, SEEK_HOLE), ENXIO);
  Fd empty(open("empty", O_RDWR | O_CREAT, 0644));
  CHECK_ERROR(lseek(empty, 0, SEEK_DATA), ENXIO);
  CHECK_ERROR(lseek(empty, 0, SEEK_HOLE), ENXIO);
}

TEST_CASE("st_blocks counts what is written, and less again after truncating") {
  Here here;
  Fd fd(open("file", O_RDWR | O_CREAT, 0644));
  REQUIRE(write_at(fd, pattern(1 << 20, 3), 0));
  REQUIRE_OK(fsync(fd));
  CHECK(stat_of(fd).st_blocks >= (1 << 20) / 512);
  CHECK(stat_of(fd).st_blocks <= (1 << 20) / 512 + 256);
  REQUIRE_OK(ftruncate(fd, 4096));
  REQUIRE_OK(fsync(fd));
  CHECK(stat_of(fd).st_blocks <= 256);
  CHECK(stat_of(fd).st_blksize >= 512);
}

TEST_CASE("statfs is finite, consistent and answers for every place in the mount") {
  Here here;
  write_file("file", "x");
  struct statvfs a {}, b {};
  REQUIRE_OK(statvfs(".", &a));
  REQUIRE_OK(statvfs("file", &b));
  CHECK(a.f_bsize >= 512);
  CHECK(a.f_frsize >= 512);
  CHECK(a.f_blocks > 0);
  CHECK(a.f_bfree <= a.f_blocks);
  CHECK(a.f_bavail <= a.f_bfree);
  // Finite: below 2^63 bytes, or programs that multiply get a negative number.
  CHECK(static_cast<long double>(a.f_blocks) * a.f_frsize < 9.2e18L);
  CHECK(static_cast<long double>(a.f_files) < 9.2e18L);
  CHECK(a.f_namemax == 255);
  CHECK(a.f_blocks == b.f_blocks);
  CHECK(a.f_fsid == b.f_fsid);
  CHECK(pathconf(".", _PC_NAME_MAX) == 255);
  CHECK(pathconf(".", _PC_PATH_MAX) == 4096);
}

TEST_CASE("Small writes at random places add up to the same bytes as in memory") {
  Here here;
  const std::size_t size = 3'000'000;
  std::string expected(size, '\0');
  Fd fd(open("file", O_RDWR | O_CREAT, 0644));
  REQUIRE_OK(ftruncate(fd, size));
  std::uint64_t x = 42;
  for (int i = 0; i < 2000; ++i) {
    x = x * 6364136223846793005ull + 1442695040888963407ull;
    std::size_t length = 1 + (x >> 33) % 9000;
    std::size_t offset = (x >> 13) % (size - length);
    std::string bytes = pattern(length, static_cast<unsigned>(i));
    REQUIRE(write_at(fd, bytes, static_cast<off_t>(offset)));
    expected.replace(offset, length, bytes);
    if (i % 500 == 99) REQUIRE_OK(fsync(fd));
  }
  CHECK(read_file("file") == expected);
  REQUIRE_OK(fsync(fd));
  REQUIRE_OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
  CHECK(read_file("file") == expected);
}

TEST_CASE("A file of many megabytes, written in odd pieces, reads back") {
  Here here;
  std::string bytes = pattern(24'000'000, 9);
  Fd fd(open("file", O_RDWR | O_CREAT, 0644));
  for (std::size_t at = 0; at < bytes.size(); at += 77'777) {
    REQUIRE(write_at(fd, std::string_view(bytes).substr(at, 77'777), static_cast<off_t>(at)));
  }
  REQUIRE_OK(fsync(fd));
  REQUIRE_OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
  CHECK((read_file("file") == bytes));
}
