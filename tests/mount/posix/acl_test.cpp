#include <sys/xattr.h>

#include <map>

#include "tests/mount/posix/support.h"

using namespace mount_test;

namespace {
// The kernel's form of an ACL in system.posix_acl_*: version 2, then {tag, permissions, id}, all little-endian.
enum Tag : std::uint16_t { user_obj = 1, user = 2, group_obj = 4, group = 8, mask = 16, other = 32 };
struct Entry {
  std::uint16_t tag, permissions;
  std::uint32_t id = 0xffffffffu;
  bool operator==(const Entry&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Entry& e) { return out << e.tag << ":" << int(e.id) << ":" << e.permissions; }

const char* const access_name = "system.posix_acl_access";
const char* const default_name = "system.posix_acl_default";

std::string encode(const std::vector<Entry>& entries) {
  std::string out("\2\0\0\0", 4);
  for (const Entry& e : entries) out.append(reinterpret_cast<const char*>(&e), 8);
  return out;
}
int set(const char* path, const char* name, const std::vector<Entry>& entries) {
  std::string value = encode(entries);
  return setxattr(path, name, value.data(), value.size(), 0);
}
std::vector<Entry> get(const char* path, const char* name) {
  char value[4096];
  ssize_t got = getxattr(path, name, value, sizeof value);
  std::vector<Entry> entries;
  for (ssize_t at = 4; at + 8 <= got; at += 8) {
    Entry e{};
    std::memcpy(&e, value + at, 8);
    entries.push_back(e);
  }
  return entries;
}
int can_read(const char* path) {
  int fd = open(path, O_RDONLY);
  return fd < 0 ? -1 : close(fd);
}
int can_write(const char* path) {
  int fd = open(path, O_WRONLY);
  return fd < 0 ? -1 : close(fd);
}
mode_t mode(const char* path) { return permissions(stat_of(path)); }
/// A user number to name in an ACL: another one's where this process can know any.
std::uint32_t someone() { return can_be_others() ? alice.uid : geteuid(); }
}  // namespace

TEST_CASE("An ACL gives a named user and a named group their own permissions") {
  Here here;
  NEEDS_USERS();
  write_file("file", "secret");
  REQUIRE_OK(chmod("file", 0600));
  CHECK(as_user(alice, [] { return can_read("file"); }) == "EACCES");
  REQUIRE_OK(set("file", access_name, {{user_obj, 6}, {user, 4, alice.uid}, {group_obj, 0}, {group, 6, 15000}, {mask, 6}, {other, 0}}));
  CHECK(mode("file") == 0660);  // the group bits show the mask
  CHECK(as_user(alice, [] { return can_read("file"); }) == "ok");
  CHECK(as_user(alice, [] { return can_write("file"); }) == "EACCES");
  CHECK(as_user(bob, [] { return can_read("file"); }) == "EACCES");
  CHECK(as_user({bob.uid, bob.gid, {15000}}, [] { return can_write("file"); }) == "ok");
  // The mask limits both.
  REQUIRE_OK(chmod("file", 0640));
  CHECK(as_user({bob.uid, bob.gid, {15000}}, [] { return can_write("file"); }) == "EACCES");
  CHECK(as_user({bob.uid, bob.gid, {15000}}, [] { return can_read("file"); }) == "ok");
  CHECK(get("file", access_name)[4] == Entry{mask, 4});
  CHECK(get("file", access_name)[3] == Entry{group, 6, 15000});
  // The owner's entry is used for the owner, even when a named entry would give more.
  REQUIRE_OK(chown("file", alice.uid, alice.gid));
  REQUIRE_OK(set("file", access_name, {{user_obj, 0}, {user, 7, alice.uid}, {group_obj, 7}, {mask, 7}, {other, 7}}));
  CHECK(as_user(alice, [] { return can_read("file"); }) == "EACCES");
}

TEST_CASE("chmod and ACL follow each other") {
  Here here;
  write_file("file", "x");
  const std::vector<Entry> plain{{user_obj, 6}, {group_obj, 4}, {other, 0}};
  REQUIRE_OK(set("file", access_name, plain));
  CHECK(mode("file") == 0640);
  // An ACL that says what the mode says is the mode, and is not kept.
  CHECK_ERROR(getxattr("file", access_name, nullptr, 0), ENODATA);
  REQUIRE_OK(set("file", access_name, {{user_obj, 7}, {user, 5, someone()}, {group_obj, 1}, {mask, 5}, {other, 2}}));
  CHECK(mode("file") == 0752);
  REQUIRE_OK(chmod("file", 0421));
  CHECK(get("file", access_name) == std::vector<Entry>{{user_obj, 4}, {user, 5, someone()}, {group_obj, 1}, {mask, 2}, {other, 1}});
  REQUIRE_OK(removexattr("file", access_name));
  CHECK_ERROR(getxattr("file", access_name, nullptr, 0), ENODATA);
  CHECK(mode("file") == 0421);
  // The group entry without a mask is the mode's group bits.
  REQUIRE_OK(chmod("file", 0777));
  CHECK_ERROR(getxattr("file", access_name, nullptr, 0), ENODATA);
}

TEST_CASE("Set-id and sticky bits stay when an ACL is set") {
  Here here;
  write_file("file", "x");
  REQUIRE_OK(chmod("file", 06755));
  REQUIRE_OK(set("file", access_name, {{user_obj, 7}, {user, 5, someone()}, {group_obj, 5}, {mask, 5}, {other, 5}}));
  CHECK(mode("file") == 06755);
}

TEST_CASE("A default ACL is inherited by files and directories, in place of the umask") {
  Here here;
  REQUIRE_OK(mkdir("dir", 0755));
  const std::vector<Entry> inherited{{user_obj, 7}, {user, 7, someone()}, {group_obj, 5}, {mask, 7}, {other, 1}};
  REQUIRE_OK(set("dir", default_name, inherited));
  CHECK(get("dir", default_name) == inherited);
  CHECK(mode("dir") == 0755);
  umask(077);
  Fd file(open("dir/file", O_WRONLY | O_CREAT, 0666));
  REQUIRE_OK(mkdir("dir/sub", 0777));
  REQUIRE_OK(mkdir("dir/sub/deeper", 0770));
  REQUIRE_OK(mkfifo("dir/fifo", 0640));
  umask(022);
  // The creation mode limits the inherited entries; the umask does not.
  CHECK(get("dir/file", access_name) ==
        std::vector<Entry>{{user_obj, 6}, {user, 7, someone()}, {group_obj, 5}, {mask, 6}, {other, 0}});
  CHECK(mode("dir/file") == 0660);
  CHECK_ERROR(getxattr("dir/file", default_name, nullptr, 0), ENODATA);
  CHECK(get("dir/sub", access_name) == inherited);
  CHECK(get("dir/sub", default_name) == inherited);
  CHECK(mode("dir/sub") == 0771);
  CHECK(get("dir/sub/deeper", default_name) == inherited);
  CHECK(mode("dir/sub/deeper") == 0770);
  CHECK(mode("dir/fifo") == 0640);
  CHECK(get("dir/fifo", access_name)[3] == Entry{mask, 4});
  REQUIRE_OK(symlink("x", "dir/link"));
  CHECK(mode("dir/link") == 0777);
  REQUIRE_OK(removexattr("dir", default_name));
  CHECK_ERROR(getxattr("dir", default_name, nullptr, 0), ENODATA);
  umask(027);
  write_file("dir/plain", "", 0666);
  umask(022);
  CHECK(mode("dir/plain") == 0640);
}

TEST_CASE("A default ACL without named entries shapes the mode alone") {
  Here here;
  REQUIRE_OK(mkdir("dir", 0755));
  REQUIRE_OK(set("dir", default_name, {{user_obj, 7}, {group_obj, 6}, {other, 4}}));
  umask(077);
  Fd file(open("dir/file", O_WRONLY | O_CREAT, 0666));
  umask(022);
  CHECK(mode("dir/file") == 0664);
  CHECK_ERROR(getxattr("dir/file", access_name, nullptr, 0), ENODATA);
}

TEST_CASE("ACLs that make no sense are refused") {
  Here here;
  write_file("file", "x");
  CHECK_ERROR(set("file", access_name, {{user_obj, 6}, {group_obj, 4}}), EINVAL);
  CHECK_ERROR(set("file", access_name, {{user_obj, 6}, {user, 6, 1}, {group_obj, 4}, {other, 0}}), EINVAL);
  CHECK_ERROR(set("file", access_name, {{user_obj, 9}, {group_obj, 4}, {other, 0}}), EINVAL);
  CHECK_ERROR(set("file", access_name, {{other, 0}, {user_obj, 6}, {group_obj, 4}}), EINVAL);
  CHECK_ERROR(setxattr("file", access_name, "\1\0\0\0", 4, 0), EOPNOTSUPP);
  CHECK_ERROR(setxattr("file", access_name, "\2\0\0", 3, 0), EINVAL);
  CHECK_ERROR(set("file", default_name, {{user_obj, 6}, {group_obj, 4}, {other, 0}}), EACCES);
  CHECK(mode("file") == 0644);
  CHECK(names_in(".").size() == 1);
}

TEST_CASE("Only the owner changes an ACL") {
  Here here;
  NEEDS_USERS();
  write_file("file", "x");
  REQUIRE_OK(chmod("file", 0666));
  CHECK(as_user(alice, [] { return set("file", access_name, {{user_obj, 7}, {group_obj, 7}, {other, 7}}); }) == "EPERM");
  REQUIRE_OK(chown("file", alice.uid, alice.gid));
  CHECK(as_user(alice, [] { return set("file", access_name, {{user_obj, 7}, {group_obj, 7}, {other, 0}}); }) == "ok");
  CHECK(mode("file") == 0770);
}

TEST_CASE("Setting an ACL from outside the file's group clears set-group-id") {
  Here here;
  NEEDS_USERS();
  write_file("file", "x");
  REQUIRE_OK(chown("file", alice.uid, 15000));
  REQUIRE_OK(chmod("file", 02775));
  CHECK(as_user(alice, [] { return set("file", access_name, {{user_obj, 7}, {user, 5, bob.uid}, {group_obj, 7}, {mask, 7}, {other, 5}}); }) == "ok");
  CHECK(mode("file") == 0775);
}

TEST_CASE("ACLs survive rename and link, and work through a directory's search permission") {
  Here here;
  NEEDS_USERS();
  REQUIRE_OK(mkdir("dir", 0700));
  write_file("dir/file", "x");
  CHECK(as_user(alice, [] { return can_read("dir/file"); }) == "EACCES");
  REQUIRE_OK(set("dir", access_name, {{user_obj, 7}, {user, 1, alice.uid}, {group_obj, 0}, {mask, 1}, {other, 0}}));
  CHECK(as_user(alice, [] { return can_read("dir/file"); }) == "ok");
  CHECK(as_user(alice, [] { return open("dir", O_RDONLY); }) == "EACCES");
  REQUIRE_OK(rename("dir", "moved"));
  CHECK(as_user(alice, [] { return can_read("moved/file"); }) == "ok");
  CHECK(as_user(bob, [] { return can_read("moved/file"); }) == "EACCES");
}
