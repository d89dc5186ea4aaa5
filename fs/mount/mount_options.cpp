#include "fs/mount/mount_options.h"

#include <algorithm>
#include <array>
#include <sstream>
#include <string_view>

namespace atl {

namespace {

template <std::size_t N>
bool among(std::string_view text, const std::array<std::string_view, N>& list) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

constexpr std::array<std::string_view, 11> passed_on{"exec",   "noexec", "suid",    "nosuid", "dev", "nodev",
                                                     "async",  "sync",   "dirsync", "ro",     "rw"};
constexpr std::array<std::string_view, 18> dropped{
    "defaults", "auto",  "noauto",   "user",     "nouser",      "users",    "owner",      "group",    "nofail",
    "_netdev",  "_rnetdev", "relatime", "atime", "strictatime", "lazytime", "nolazytime", "nodiratime", "default_permissions"};
constexpr std::array<std::string_view, 4> labels{"context=", "fscontext=", "defcontext=", "rootcontext="};

/// Splits at commas; a backslash keeps the next comma, as in libfuse.
std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size())
      parts.back().push_back(text[++i]);
    else if (text[i] == ',')
      parts.emplace_back();
    else
      parts.back().push_back(text[i]);
  }
  return parts;
}

}  // namespace

Result<MountOptions> parse_mount_options(const std::vector<std::string>& texts, const std::string& drive_name,
                                         Mounter mounter, Config& config) {
  MountOptions options;
  bool device_files_chosen = false;
  bool set_id_chosen = false;
  bool asked_for_others = false;
  for (const std::string& text : texts) {
    for (const std::string& part : split(text)) {
      const std::size_t equals = part.find('=');
      const std::string key = part.substr(0, equals);
      const std::string value = equals == std::string::npos ? std::string() : part.substr(equals + 1);
      if (part.empty() || part.starts_with("x-") || part.starts_with("X-") || key == "comment" || among(part, dropped)) {
        continue;
      } else if (key == "allow_other" && equals == std::string::npos) {
        config.allow_other = true;
        asked_for_others = true;
      } else if (is_config_key(key)) {
        if (equals == std::string::npos) return fail(Code::invalid, "-o " + key + " needs a value: " + key + "=...");
        if (auto set = set_config(config, key, value); !set)
          return fail(Code::invalid, "-o " + set.error().what, set.error().hint);
      } else if (among(part, passed_on)) {
        if (part == "ro") config.drive.read_only = true;
        if (part == "rw") config.drive.read_only = false;
        device_files_chosen = device_files_chosen || part == "dev" || part == "nodev";
        set_id_chosen = set_id_chosen || part == "suid" || part == "nosuid";
        if (part != "ro" && part != "rw") options.fuse.push_back(part);
      } else if (part == "noatime") {
        options.update_atime = false;
        options.fuse.push_back(part);
      } else if (std::any_of(labels.begin(), labels.end(), [&](auto label) { return part.starts_with(label); })) {
        options.fuse.push_back(part);
      } else {
        return fail(Code::invalid, "unknown mount option " + key, "atoll mount --help lists what is understood");
      }
    }
  }
  if (config.drive.read_only) options.fuse.push_back("ro");
  // A drive of root's is a disk like others, with device files and set-id programs, unless told otherwise.
  if (mounter.root && !device_files_chosen) options.fuse.push_back("dev");
  if (mounter.root && !set_id_chosen) options.fuse.push_back("suid");
  if (mounter.root || (config.allow_other && mounter.user_allow_other)) {
    options.fuse.push_back("allow_other");
  } else if (config.allow_other) {
    return fail(Code::invalid, std::string(asked_for_others ? "-o allow_other" : "allow_other") + " is not open to ordinary users here",
                "let root add the line user_allow_other to /etc/fuse.conf");
  }
  options.fuse.push_back("default_permissions");
  options.fuse.push_back("subtype=atoll");
  options.fuse.push_back("fsname=atoll:" + drive_name);
  return options;
}

bool says_user_allow_other(const std::string& fuse_conf) {
  std::istringstream lines(fuse_conf);
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string word;
    std::string rest;
    if (words >> word && word == "user_allow_other" && !(words >> rest)) return true;
  }
  return false;
}

}  // namespace atl
