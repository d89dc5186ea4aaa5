#include "fs/mount/mount_point.h"

#include <dirent.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

extern char** environ;

namespace atl {

namespace fs = std::filesystem;

namespace {

/// mountinfo writes blanks, tabs, line ends and backslashes as three octal digits.
std::string unescape(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&](std::size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '7'; };
    if (text[i] == '\\' && digit(i + 1) && digit(i + 2) && digit(i + 3)) {
      result.push_back(static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0')));
      i += 3;
    } else {
      result.push_back(text[i]);
    }
  }
  return result;
}

bool is_below(std::string_view path, std::string_view directory) {
  if (directory == "/") return true;
  return path.starts_with(directory) && (path.size() == directory.size() || path[directory.size()] == '/');
}

std::string errno_text(int number) { return std::strerror(number); }

/// Runs fusermount3 and returns what it wrote on failure.
Result<> run_fusermount(std::vector<std::string> arguments) {
  int pipe_fds[2];
  if (::pipe2(pipe_fds, O_CLOEXEC) != 0) return fail(Code::failed, "cannot make a pipe", {}, errno);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], 2);
  posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], 1);
  std::vector<char*> pointers;
  arguments.insert(arguments.begin(), "fusermount3");
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  pid_t child = 0;
  const int spawned = ::posix_spawnp(&child, "fusermount3", &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(pipe_fds[1]);
  std::string output;
  if (spawned == 0) {
    char chunk[512];
    ssize_t count = 0;
    while ((count = ::read(pipe_fds[0], chunk, sizeof chunk)) > 0 && output.size() < 4096)
      output.append(chunk, static_cast<std::size_t>(count));
  }
  ::close(pipe_fds[0]);
  if (spawned != 0)
    return fail(Code::not_found, "cannot run fusermount3: " + errno_text(spawned), "install the package fuse3", spawned);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  while (!output.empty() && output.back() == '\n') output.pop_back();
  const bool busy = output.find("busy") != std::string::npos;
  return fail(busy ? Code::busy : Code::failed, output.empty() ? "fusermount3 failed" : output);
}

std::string read_link(const std::string& path) {
  char target[PATH_MAX];
  const ssize_t count = ::readlink(path.c_str(), target, sizeof target);
  return count > 0 ? std::string(target, static_cast<std::size_t>(count)) : std::string();
}

std::string first_held_path(const std::string& process, std::string_view mount_point) {
  for (const char* link : {"/cwd", "/root", "/exe"}) {
    const std::string target = read_link(process + link);
    // "/" as root directory is everybody's
    if (!target.empty() && target != "/" && is_below(target, mount_point)) return target;
  }
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(process + "/fd", ignored)) {
    const std::string target = read_link(entry.path().string());
    if (is_below(target, mount_point)) return target;
  }
  std::ifstream maps(process + "/maps");
  std::string line;
  while (std::getline(maps, line)) {
    const std::size_t at = line.find('/');
    if (at != std::string::npos && is_below(std::string_view(line).substr(at), mount_point)) return line.substr(at);
  }
  return {};
}

}  // namespace

std::vector<MountEntry> parse_mountinfo(std::string_view text) {
  // "36 35 0:57 / /mnt rw,nosuid - fuse.atoll atoll:photos rw,..." with optional fields before the dash
  std::vector<MountEntry> result;
  std::istringstream lines{std::string(text)};
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    std::string id, parent, device, root, point, options, field, type, source;
    if (!(fields >> id >> parent >> device >> root >> point >> options)) continue;
    while (fields >> field && field != "-") {
    }
    if (!(fields >> type >> source)) continue;
    result.push_back({unescape(point), device, type, unescape(source)});
  }
  return result;
}

std::vector<MountEntry> current_mounts() {
  std::ifstream file("/proc/self/mountinfo");
  std::ostringstream text;
  text << file.rdbuf();
  return parse_mountinfo(text.str());
}

std::optional<MountEntry> mount_at(const std::string& path) {
  std::optional<MountEntry> found;
  for (MountEntry& mount : current_mounts())
    if (mount.mount_point == path) found = std::move(mount);  // the last one lies on top
  return found;
}

std::optional<MountEntry> mount_of(const std::string& path) {
  std::optional<MountEntry> found;
  for (MountEntry& mount : current_mounts())
    if (is_below(path, mount.mount_point) && (!found || mount.mount_point.size() >= found->mount_point.size()))
      found = std::move(mount);
  return found;
}

std::optional<std::string> drive_name_of(const MountEntry& mount) {
  constexpr std::string_view prefix = "atoll:";
  if (mount.type != "fuse.atoll" || !mount.source.starts_with(prefix)) return std::nullopt;
  return mount.source.substr(prefix.size());
}

Result<std::string> resolve_mount_point(const std::string& path) {
  if (path.empty()) return fail(Code::invalid, "the mount point is an empty path");
  std::error_code error;
  const fs::path resolved = fs::canonical(path, error);
  if (!error) return resolved.string();
  // A dead mount answers nothing; its parent does.
  fs::path absolute = fs::absolute(path);
  if (!absolute.has_filename()) absolute = absolute.parent_path();
  const fs::path parent = fs::canonical(absolute.parent_path(), error);
  if (error) return fail(Code::not_found, "there is no directory " + path, "mkdir -p " + path);
  return (parent / absolute.filename()).string();
}

Result<> prepare_mount_point(const std::string& path, const std::vector<std::string>& forbidden) {
  // Not stat alone: the kernel answers for the root of a dead mount from what it remembers.
  struct stat stat {};
  struct statfs space {};
  if (::statfs(path.c_str(), &space) != 0 || ::stat(path.c_str(), &stat) != 0) {
    const int number = errno;
    if (number == ENOTCONN || number == ECONNABORTED) {
      const auto dead = mount_at(path);
      if (!dead || !dead->type.starts_with("fuse"))
        return fail(Code::failed, path + " does not answer: " + errno_text(number), {}, number);
      if (auto detached = unmount(path, true); !detached) return detached;
      if (::stat(path.c_str(), &stat) != 0)
        return fail(Code::failed, path + " does not answer, also after it was detached", {}, errno);
    } else if (number == ENOENT) {
      return fail(Code::not_found, "there is no directory " + path, "mkdir -p " + path, number);
    } else {
      return fail(Code::access_denied, "cannot look at " + path + ": " + errno_text(number), {}, number);
    }
  }
  if (!S_ISDIR(stat.st_mode))
    return fail(Code::not_directory, path + " is not a directory", "give an empty directory to mount on");
  if (const auto mounted = mount_at(path)) {
    if (const auto name = drive_name_of(*mounted))
      return fail(Code::busy, "the drive " + *name + " is mounted on " + path + " already", "atoll umount " + path);
  }
  for (const std::string& own : forbidden) {
    std::error_code error;
    const fs::path resolved = fs::weakly_canonical(own, error);
    if (!error && (is_below(path, resolved.string()) || is_below(resolved.string(), path)))
      return fail(Code::invalid, path + " and the drive's own folder " + own + " lie in one another",
                  "mount on a directory elsewhere");
  }
  DIR* directory = ::opendir(path.c_str());
  if (directory == nullptr)
    return fail(Code::access_denied, "cannot list " + path + ": " + errno_text(errno), {}, errno);
  std::string first;
  while (const dirent* entry = ::readdir(directory)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") {
      first = name;
      break;
    }
  }
  ::closedir(directory);
  if (!first.empty())
    return fail(Code::not_empty, path + " is not empty: it holds " + first,
                "mount on an empty directory; what lies there would be hidden");
  return {};
}

Result<> check_fuse_access() {
  if (::access("/dev/fuse", F_OK) != 0)
    return fail(Code::access_denied, "there is no /dev/fuse on this system",
                "load the kernel module: sudo modprobe fuse; in a container, pass the device through (--device /dev/fuse)",
                errno);
  const int fd = ::open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (fd < 0) {
    const int number = errno;
    return fail(Code::access_denied, "/dev/fuse is not open to this user: " + errno_text(number),
                "open it with: sudo chmod 666 /dev/fuse    (lasting: echo 'KERNEL==\"fuse\", MODE=\"0666\"' | sudo tee "
                "/etc/udev/rules.d/99-fuse.rules), or run atoll as root",
                number);
  }
  ::close(fd);
  return {};
}

Result<> unmount(const std::string& mount_point, bool lazy) {
  if (::geteuid() == 0) {
    if (::umount2(mount_point.c_str(), (lazy ? MNT_DETACH : 0) | UMOUNT_NOFOLLOW) == 0) return {};
    const int number = errno;
    const Code code = number == EBUSY ? Code::busy : number == EINVAL ? Code::not_found : Code::failed;
    return fail(code, "cannot unmount " + mount_point + ": " + errno_text(number), {}, number);
  }
  std::vector<std::string> arguments{"-u", "-q"};
  if (lazy) arguments.push_back("-z");
  arguments.insert(arguments.end(), {"--", mount_point});
  auto done = run_fusermount(arguments);
  // -q keeps it quiet about a busy mount too
  if (!done && done.error().code == Code::failed && !lazy && mount_at(mount_point))
    return fail(Code::busy, "cannot unmount " + mount_point + ": " + done.error().what);
  return done;
}

std::vector<Holder> holders_of(const std::string& mount_point) {
  std::vector<Holder> result;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto process = static_cast<pid_t>(std::strtol(name.c_str(), nullptr, 10));
    if (process == ::getpid()) continue;
    std::string path = first_held_path(entry.path().string(), mount_point);
    if (path.empty()) continue;
    std::string command;
    std::ifstream comm(entry.path().string() + "/comm");
    std::getline(comm, command);
    result.push_back({process, command, std::move(path)});
  }
  return result;
}

std::string describe(const std::vector<Holder>& holders) {
  std::string text;
  for (const Holder& holder : holders) {
    if (!text.empty()) text += ", ";
    text += std::to_string(holder.process) + " (" + holder.command + ": " + holder.path + ")";
  }
  return text;
}

void set_readahead(const std::string& mount_point, unsigned kibibytes) {
  const auto mount = mount_at(mount_point);
  if (!mount) return;
  std::ofstream file("/sys/class/bdi/" + mount->device + "/read_ahead_kb");
  file << kibibytes;
}

}  // namespace atl
