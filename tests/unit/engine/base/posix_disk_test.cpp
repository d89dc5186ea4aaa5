#include "engine/base/posix_disk.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/support/temporary_folder.h"

using namespace atl;

namespace {

Bytes bytes_of(std::string_view text) { return Bytes(text.begin(), text.end()); }

Bytes pattern(std::size_t count) {
  Bytes bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::uint8_t>(i * 131 + (i >> 8));
  return bytes;
}

}  // namespace

TEST_CASE("A file on the disk gives back what was written to it, at any offset") {
  TemporaryFolder folder;
  PosixDisk disk;
  auto file = disk.open(folder / "a", OpenMode::create);
  REQUIRE(file);
  REQUIRE((*file)->write(5, bytes_of("hello")));
  REQUIRE((*file)->sync());
  CHECK((*file)->size() == 10u);
  Bytes all(20, 0xff);
  CHECK((*file)->read(0, all) == 10u);
  all.resize(10);
  CHECK(all == bytes_of(std::string_view("\0\0\0\0\0hello", 10)));
  CHECK((*file)->read(100, all) == 0u);
  REQUIRE((*file)->truncate(7));
  CHECK(read_file(disk, folder / "a", 100) == bytes_of(std::string_view("\0\0\0\0\0he", 7)));
}

TEST_CASE("A gather list reaches the file whole and in order, however many pieces it has") {
  TemporaryFolder folder;
  PosixDisk disk;
  const Bytes whole = pattern(300000);
  std::vector<ByteView> pieces;
  std::size_t at = 0;
  for (std::size_t step = 0; at < whole.size(); ++step) {
    const std::size_t length = std::min(whole.size() - at, step % 7 == 0 ? std::size_t{0} : step * 13);
    pieces.push_back(ByteView(whole).subspan(at, length));
    at += length;
  }
  REQUIRE(pieces.size() > 200);
  auto file = disk.open(folder / "a", OpenMode::create_new);
  REQUIRE(file);
  REQUIRE((*file)->write_gather(0, pieces));
  CHECK(read_file(disk, folder / "a", whole.size()) == whole);
}

TEST_CASE("Opening says what is wrong, and with which path") {
  TemporaryFolder folder;
  PosixDisk disk;
  const auto missing = disk.open(folder / "none", OpenMode::read);
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == Code::not_found);
  CHECK(missing.error().os_error == ENOENT);
  CHECK(missing.error().what.find(folder / "none") != std::string::npos);
  CHECK(disk.open(folder / "none", OpenMode::write).error().code == Code::not_found);
  REQUIRE(disk.open(folder / "a", OpenMode::create_new));
  CHECK(disk.open(folder / "a", OpenMode::create_new).error().code == Code::exists);
  CHECK(disk.open(folder.path(), OpenMode::write).error().code == Code::is_directory);
  struct stat attributes {};
  REQUIRE(::stat((folder / "a").c_str(), &attributes) == 0);
  CHECK((attributes.st_mode & 0777) == 0600);
}

TEST_CASE("Reserved space occupies the disk and reads as zeros; a punched range gives it back") {
  TemporaryFolder folder;
  PosixDisk disk;
  auto file = disk.open(folder / "a", OpenMode::create);
  REQUIRE(file);
  REQUIRE((*file)->write(0, bytes_of("start")));
  REQUIRE((*file)->allocate(1 << 20));
  CHECK((*file)->size() == 1u << 20);
  CHECK((*file)->allocated().value() >= 1u << 20);
  const Bytes noise = pattern(1 << 20);
  REQUIRE((*file)->write(0, noise));
  REQUIRE((*file)->punch(64 << 10, 512 << 10));
  Bytes expected = noise;
  std::fill(expected.begin() + (64 << 10), expected.begin() + (576 << 10), std::uint8_t{0});
  CHECK(read_file(disk, folder / "a", 2 << 20) == expected);
}

TEST_CASE("A mapped file shows its bytes for as long as the owner of the map lives") {
  TemporaryFolder folder;
  PosixDisk disk;
  const Bytes content = pattern(100000);
  auto file = disk.open(folder / "a", OpenMode::create);
  REQUIRE(file);
  REQUIRE((*file)->write(0, content));
  CHECK((*file)->map(0, content.size() + 1).error().code == Code::invalid);
  CHECK((*file)->map(1, content.size()).error().code == Code::invalid);
  CHECK((*file)->map(content.size() + 1, 0).error().code == Code::invalid);
  auto map = (*file)->map(0, content.size());
  auto part = (*file)->map(5001, 70001);
  REQUIRE(map);
  REQUIRE(part);
  file->reset();
  REQUIRE(disk.remove(folder / "a"));
  CHECK(Bytes(map->get(), map->get() + content.size()) == content);
  CHECK(Bytes(part->get(), part->get() + 70001) == Bytes(content.begin() + 5001, content.begin() + 75002));
}

TEST_CASE("A rename that must not replace leaves both files alone when the name is taken") {
  TemporaryFolder folder;
  PosixDisk disk;
  REQUIRE(replace_file(disk, folder / "a", bytes_of("one")));
  REQUIRE(replace_file(disk, folder / "b", bytes_of("two")));
  CHECK(disk.rename_new(folder / "a", folder / "b").error().code == Code::exists);
  CHECK(disk.Disk::rename_new(folder / "a", folder / "b").error().code == Code::exists);
  CHECK(read_file(disk, folder / "a", 10) == bytes_of("one"));
  CHECK(read_file(disk, folder / "b", 10) == bytes_of("two"));
  REQUIRE(disk.rename_new(folder / "a", folder / "c"));
  REQUIRE(disk.Disk::rename_new(folder / "b", folder / "d"));
  CHECK(disk.list(folder.path()) == std::vector<std::string>{"c", "d"});
  REQUIRE(disk.rename(folder / "c", folder / "d"));
  CHECK(read_file(disk, folder / "d", 10) == bytes_of("one"));
}

TEST_CASE("Replacing a file leaves the new content and nothing else") {
  TemporaryFolder folder;
  PosixDisk disk;
  REQUIRE(replace_file(disk, folder / "a.new", bytes_of("left over by a crash, and longer")));
  REQUIRE(replace_file(disk, folder / "a", bytes_of("old")));
  REQUIRE(replace_file(disk, folder / "a", bytes_of("new")));
  CHECK(read_file(disk, folder / "a", 10) == bytes_of("new"));
  CHECK(disk.list(folder.path()) == std::vector<std::string>{"a"});
  CHECK(read_file(disk, folder / "a", 2).error().code == Code::too_large);
}

TEST_CASE("Directories are made once, listed in byte order, and removed when empty") {
  TemporaryFolder folder;
  PosixDisk disk;
  REQUIRE(disk.make_directory(folder / "d"));
  REQUIRE(disk.make_directory(folder / "d"));
  CHECK(disk.make_directory(folder / "x/y").error().code == Code::not_found);
  for (const char* name : {"b", "a", "B", "\xff", "10", "9"}) REQUIRE(replace_file(disk, folder / "d/" + name, {}));
  CHECK(disk.list(folder / "d") == std::vector<std::string>{"10", "9", "B", "a", "b", "\xff"});
  CHECK(disk.make_directory(folder / "d/a").error().code == Code::not_directory);
  REQUIRE(disk.sync_directory(folder / "d"));
  CHECK(disk.remove(folder / "d").error().code == Code::not_empty);
  const auto names = disk.list(folder / "d").value();
  for (const std::string& name : names) REQUIRE(disk.remove(folder / "d/" + name));
  REQUIRE(disk.remove(folder / "d"));
  CHECK(disk.exists(folder / "d") == false);
  CHECK(disk.exists(folder / "d/below") == false);
  CHECK(disk.remove(folder / "d").error().code == Code::not_found);
}

TEST_CASE("Two folders of one file system are seen to share it") {
  TemporaryFolder one;
  TemporaryFolder two;
  PosixDisk disk;
  const auto first = disk.usage(one.path());
  const auto second = disk.usage(two.path());
  REQUIRE(first);
  REQUIRE(second);
  CHECK(first->device == second->device);
  CHECK(first->capacity_bytes > 0);
  CHECK(first->free_bytes <= first->capacity_bytes);
  CHECK(disk.usage(one / "none").error().code == Code::not_found);
}
