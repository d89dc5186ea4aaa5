// Access control lists as the kernel keeps them: the same lists, modes and refusals as on a local file system, where
// the machine's temporary folder has lists; where it has none, answers of ext4 written down here stand in.
#include "cache/drive/acl.h"

#include <fcntl.h>
#include <rapidcheck.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdlib>

#include "tests/support/temporary_folder.h"

namespace atl {
namespace {

Acl some_acl() {
  const auto permissions = [] { return *rc::gen::inRange<std::uint16_t>(0, 8); };
  Acl acl;
  acl.entries.push_back({AclTag::user_obj, permissions(), AclEntry::no_id});
  const auto users = *rc::gen::inRange<std::uint32_t>(0, 3);
  for (std::uint32_t i = 0; i < users; ++i) acl.entries.push_back({AclTag::user, permissions(), 1000 + i});
  acl.entries.push_back({AclTag::group_obj, permissions(), AclEntry::no_id});
  const auto groups = *rc::gen::inRange<std::uint32_t>(0, 3);
  for (std::uint32_t i = 0; i < groups; ++i) acl.entries.push_back({AclTag::group, permissions(), 2000 + i});
  if (users + groups > 0 || *rc::gen::arbitrary<bool>())
    acl.entries.push_back({AclTag::mask, permissions(), AclEntry::no_id});
  acl.entries.push_back({AclTag::other, permissions(), AclEntry::no_id});
  return acl;
}

int set_attribute(const std::string& path, std::string_view name, const Bytes& value) {
  return ::setxattr(path.c_str(), std::string(name).c_str(), value.data(), value.size(), 0);
}

/// Empty if there is none.
Bytes attribute(const std::string& path, std::string_view name) {
  Bytes value(65536);
  const ssize_t size = ::getxattr(path.c_str(), std::string(name).c_str(), value.data(), value.size());
  value.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
  return value;
}

std::uint32_t mode_of(const std::string& path) {
  struct stat info {};
  REQUIRE(::stat(path.c_str(), &info) == 0);
  return info.st_mode;
}

bool has_lists(const std::string& folder) {
  const Acl acl{{{AclTag::user_obj, 7, AclEntry::no_id},
                 {AclTag::user, 7, 1},
                 {AclTag::group_obj, 5, AclEntry::no_id},
                 {AclTag::mask, 7, AclEntry::no_id},
                 {AclTag::other, 5, AclEntry::no_id}}};
  if (set_attribute(folder, acl_access_name, serialize_acl(acl)) == 0) {
    ::removexattr(folder.c_str(), std::string(acl_access_name).c_str());
    return true;
  }
  WARN("no access control lists in the temporary folder: fallback 'answers of ext4 as written down'");
  return false;
}

}  // namespace

TEST_CASE("a list survives being written and read") {
  CHECK(rc::check([] {
    const Acl acl = some_acl();
    const auto back = parse_acl(serialize_acl(acl));
    RC_ASSERT(back.has_value());
    RC_ASSERT(*back == acl);
  }));
}

TEST_CASE("a list's bytes are the kernel's") {
  const Acl acl{{{AclTag::user_obj, 7, AclEntry::no_id},
                 {AclTag::user, 6, 1234},
                 {AclTag::group_obj, 0, AclEntry::no_id},
                 {AclTag::mask, 6, AclEntry::no_id},
                 {AclTag::other, 0, AclEntry::no_id}}};
  CHECK(to_hex(serialize_acl(acl)) ==
        "0200000001000700ffffffff02000600d204000004000000ffffffff10000600ffffffff20000000ffffffff");
}

TEST_CASE("a new file or directory inherits what the kernel would give it") {
  const TemporaryFolder folder;
  if (!has_lists(folder.path())) return;
  int number = 0;
  CHECK(rc::check([&] {
    const std::string parent = folder.path() + "/" + std::to_string(++number);
    RC_ASSERT(::mkdir(parent.c_str(), 0777) == 0);
    const Acl defaults = some_acl();
    RC_ASSERT(set_attribute(parent, acl_default_name, serialize_acl(defaults)) == 0);
    const auto mode = *rc::gen::inRange<std::uint32_t>(0, 01000);
    const bool directory = *rc::gen::arbitrary<bool>();
    const std::string child = parent + "/child";
    if (directory) {
      RC_ASSERT(::mkdir(child.c_str(), mode) == 0);
    } else {
      const int file = ::open(child.c_str(), O_CREAT | O_WRONLY, mode);
      RC_ASSERT(file >= 0);
      ::close(file);
    }
    const InheritedAcl inherited = inherit_acl(defaults, mode | (directory ? S_IFDIR : S_IFREG), directory);
    RC_ASSERT(mode_of(child) == inherited.mode);
    RC_ASSERT(attribute(child, acl_access_name) == (inherited.access ? serialize_acl(*inherited.access) : Bytes()));
    RC_ASSERT(attribute(child, acl_default_name) ==
              (inherited.default_acl ? serialize_acl(*inherited.default_acl) : Bytes()));
  }));
}

TEST_CASE("setting a list changes the mode, and chmod the list, as the kernel does it") {
  const TemporaryFolder folder;
  if (!has_lists(folder.path())) return;
  const std::string file = folder.path() + "/file";
  ::close(::open(file.c_str(), O_CREAT | O_WRONLY, 0644));
  CHECK(rc::check([&] {
    const Acl acl = some_acl();
    const std::uint32_t before = mode_of(file);
    RC_ASSERT(set_attribute(file, acl_access_name, serialize_acl(acl)) == 0);
    const AclMode set = mode_from_acl(acl, before);
    RC_ASSERT(mode_of(file) == set.mode);
    RC_ASSERT(attribute(file, acl_access_name) == (set.equivalent ? Bytes() : serialize_acl(acl)));

    const auto mode = *rc::gen::inRange<std::uint32_t>(0, 01000);
    RC_ASSERT(::chmod(file.c_str(), mode) == 0);
    const Acl changed = acl_with_mode(acl, mode);
    RC_ASSERT(mode_from_acl(changed, mode).mode == mode);
    RC_ASSERT(attribute(file, acl_access_name) == (set.equivalent ? Bytes() : serialize_acl(changed)));
  }));
}

TEST_CASE("the lists that the kernel refuses are refused") {
  const TemporaryFolder folder;
  if (!has_lists(folder.path())) return;
  const std::string file = folder.path() + "/file";
  ::close(::open(file.c_str(), O_CREAT | O_WRONLY, 0644));
  int refused = 0;
  CHECK(rc::check([&] {
    Bytes value = serialize_acl(some_acl());
    // A change of tag or permission, an entry taken out, repeated or swapped, or a cut anywhere.
    const std::size_t entries = (value.size() - 4) / 8;
    const std::size_t at = 4 + 8 * *rc::gen::inRange<std::size_t>(0, entries);
    switch (*rc::gen::inRange(0, 6)) {
      case 0:
        value[at] = *rc::gen::element<std::uint8_t>(0, 1, 2, 4, 8, 16, 32, 64, 3);
        break;
      case 1:
        value[at + 2] = *rc::gen::inRange<std::uint8_t>(0, 20);
        break;
      case 2:
        value.erase(value.begin() + at, value.begin() + at + 8);
        break;
      case 3: {
        const Bytes entry(value.begin() + at, value.begin() + at + 8);
        value.insert(value.begin() + at, entry.begin(), entry.end());
        break;
      }
      case 4:
        value.resize(*rc::gen::inRange<std::size_t>(4, value.size()));
        break;
      default:
        value[0] = *rc::gen::inRange<std::uint8_t>(0, 4);
        break;
    }
    const auto parsed = parse_acl(value);
    const int result = set_attribute(file, acl_access_name, value);
    const int error = errno;
    RC_ASSERT((result == 0) == parsed.has_value());
    if (result == 0) return;
    ++refused;
    RC_ASSERT(error == (parsed.error().code == Code::unsupported ? EOPNOTSUPP : EINVAL));
  }));
  CHECK(refused > 10);
}

TEST_CASE("lists as ext4 answered them") {
  const auto list = [](std::vector<AclEntry> entries) { return Acl{std::move(entries)}; };
  const std::uint32_t none = AclEntry::no_id;
  const Acl named = list({{AclTag::user_obj, 7, none},
                          {AclTag::user, 6, 1000},
                          {AclTag::group_obj, 5, none},
                          {AclTag::mask, 7, none},
                          {AclTag::other, 4, none}});
  const Acl plain = list({{AclTag::user_obj, 7, none}, {AclTag::group_obj, 5, none}, {AclTag::other, 4, none}});

  const InheritedAcl file = inherit_acl(named, S_IFREG | 0640, false);
  CHECK(file.mode == (S_IFREG | 0640u));
  REQUIRE(file.access.has_value());
  CHECK(*file.access == list({{AclTag::user_obj, 6, none},
                              {AclTag::user, 6, 1000},
                              {AclTag::group_obj, 5, none},
                              {AclTag::mask, 4, none},
                              {AclTag::other, 0, none}}));
  CHECK_FALSE(file.default_acl.has_value());

  const InheritedAcl directory = inherit_acl(plain, S_IFDIR | S_ISGID | 0777, true);
  CHECK(directory.mode == (S_IFDIR | S_ISGID | 0754u));
  CHECK_FALSE(directory.access.has_value());
  CHECK(*directory.default_acl == plain);

  CHECK(mode_from_acl(named, S_IFREG | S_ISUID | 0600).mode == (S_IFREG | S_ISUID | 0774u));
  CHECK_FALSE(mode_from_acl(named, 0).equivalent);
  CHECK(mode_from_acl(plain, 0).equivalent);
  CHECK(acl_with_mode(named, 0612) == list({{AclTag::user_obj, 6, none},
                                            {AclTag::user, 6, 1000},
                                            {AclTag::group_obj, 5, none},
                                            {AclTag::mask, 1, none},
                                            {AclTag::other, 2, none}}));
  CHECK(acl_with_mode(plain, 0612) ==
        list({{AclTag::user_obj, 6, none}, {AclTag::group_obj, 1, none}, {AclTag::other, 2, none}}));

  CHECK(parse_acl({}).error().code == Code::invalid);
  CHECK(parse_acl(*from_hex("02000000"))->entries.empty());
  CHECK(parse_acl(*from_hex("01000000")).error().code == Code::unsupported);
  CHECK(parse_acl(*from_hex("0200000001")).error().code == Code::invalid);
  CHECK(parse_acl(*from_hex("0200000001000700ffffffff04000500ffffffff")).error().code == Code::invalid);
}

}  // namespace atl
