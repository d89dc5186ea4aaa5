// The -o options of `atoll mount`, as mount(8) and fstab give them.
//
// Settings of the drive go to its configuration, options of the system to FUSE, and what is only for mount(8) or
// systemd (x-*, _netdev, nofail, user, ...) is dropped. Errors: Code::invalid, naming the option. Pure.
#pragma once

#include <string>
#include <vector>

#include "engine/base/result.h"
#include "fs/config/config.h"

namespace atl {

struct MountOptions {
  std::vector<std::string> fuse;  // each as behind -o
  bool update_atime = true;
};

/// Who mounts.
struct Mounter {
  bool root = false;
  bool user_allow_other = false;  // /etc/fuse.conf lets ordinary users give allow_other
};

/// `texts` are the arguments of each -o: lists with commas. Changes `config` where they set its keys.
Result<MountOptions> parse_mount_options(const std::vector<std::string>& texts, const std::string& drive_name,
                                         Mounter mounter, Config& config);

/// Whether a fuse.conf's text says user_allow_other.
bool says_user_allow_other(const std::string& fuse_conf);

}  // namespace atl
