#include "fs/mount/mount_options.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "fs/mount/mount_point.h"

using namespace atl;

namespace {

bool has(const MountOptions& options, const std::string& option) {
  return std::find(options.fuse.begin(), options.fuse.end(), option) != options.fuse.end();
}

constexpr Mounter root{true, false};
constexpr Mounter user{false, false};

}  // namespace

TEST_CASE("Options of fstab that are not for the drive are dropped") {
  Config config;
  auto options = parse_mount_options({"defaults,_netdev,nofail,user,x-systemd.automount,x-gvfs-show,relatime,comment=hi,,noauto"},
                                     "photos", user, config);
  REQUIRE(options);
  CHECK(options->fuse == std::vector<std::string>{"default_permissions", "subtype=atoll", "fsname=atoll:photos"});
  CHECK(options->update_atime);
}

TEST_CASE("Settings of the drive, and of the system, each reach their place") {
  Config config;
  auto options = parse_mount_options({"read_timeout_s=2,noexec", "staging_max=1GiB,noatime,ro"}, "photos", user, config);
  REQUIRE(options);
  CHECK(config.drive.read_timeout == std::chrono::seconds(2));
  CHECK(config.drive.staging_max == 1ull << 30);
  CHECK(config.drive.read_only);
  CHECK(has(*options, "ro"));
  CHECK(has(*options, "noexec"));
  CHECK(has(*options, "noatime"));
  CHECK(!options->update_atime);
}

TEST_CASE("Root's mount is open to all users and holds device files unless told otherwise; a user's is not") {
  Config config;
  auto options = parse_mount_options({}, "photos", root, config);
  REQUIRE(options);
  CHECK(has(*options, "allow_other"));
  CHECK(has(*options, "dev"));
  CHECK(has(*options, "suid"));
  options = parse_mount_options({"nodev,nosuid"}, "photos", root, config);
  CHECK(!has(*options, "dev"));
  CHECK(has(*options, "nodev"));
  CHECK(!has(*options, "suid"));
  options = parse_mount_options({}, "photos", user, config);
  CHECK(!has(*options, "allow_other"));
  CHECK(!has(*options, "dev"));
}

TEST_CASE("An ordinary user gets allow_other only where fuse.conf has it") {
  Config config;
  auto options = parse_mount_options({"allow_other"}, "photos", user, config);
  REQUIRE(!options);
  CHECK(options.error().hint.find("user_allow_other") != std::string::npos);
  options = parse_mount_options({"allow_other"}, "photos", Mounter{false, true}, config);
  REQUIRE(options);
  CHECK(has(*options, "allow_other"));
  CHECK(says_user_allow_other("# x\n  user_allow_other \n"));
  CHECK(!says_user_allow_other("#user_allow_other\n"));
}

TEST_CASE("An option that nobody knows is refused by name") {
  for (const std::string text : {"staging_mx=5", "max_read=4096", "fsname=other", "rw,nonsense", "read_timeout_s", "read_timeout_s=x"}) {
    Config config;
    INFO(text);
    const auto options = parse_mount_options({text}, "photos", root, config);
    REQUIRE(!options);
    CHECK(options.error().code == Code::invalid);
  }
}

TEST_CASE("The system's list of mounts is read with blanks in names and optional fields") {
  const auto mounts = parse_mountinfo(
      "36 35 98:0 / / rw,noatime shared:1 master:2 - ext3 /dev/root rw\n"
      "garbage\n"
      "40 36 0:57 / /home/anna/My\\040Atoll rw - fuse.atoll atoll:photos rw,user_id=1000\n");
  REQUIRE(mounts.size() == 2);
  CHECK(mounts[1].mount_point == "/home/anna/My Atoll");
  CHECK(mounts[1].device == "0:57");
  CHECK(drive_name_of(mounts[1]) == "photos");
  CHECK(!drive_name_of(mounts[0]));
}
