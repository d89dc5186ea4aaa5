// `atoll mount`: in front, or as a process of its own that this one waits for until the mount answers.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/base/os_error.h"
#include "fs/command/commands.h"
#include "fs/command/daemon.h"
#include "fs/command/running_drive.h"
#include "fs/command/take_over.h"
#include "fs/control/error_json.h"
#include "fs/control/unix_socket.h"
#include "fs/mount/mount_point.h"

namespace atl {

namespace {

using nlohmann::json;

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

Outcome<DaemonPlan> make_plan(const MountArguments& arguments) {
  DaemonPlan plan;
  auto places = find_places(arguments.name);
  if (!places) return give_up(places.error(), Exit::usage);
  plan.places = std::move(*places);
  plan.passphrase_file = arguments.passphrase_file;
  plan.foreground = arguments.foreground;

  if (auto loaded = load_config(plan.places, plan.config); !loaded) return tl::unexpected<Failure>(loaded.error());
  const Mounter mounter{::geteuid() == 0, says_user_allow_other(text_of("/etc/fuse.conf"))};
  auto options = parse_mount_options(arguments.options, arguments.name, mounter, plan.config);
  if (!options) return give_up(options.error(), Exit::usage);
  plan.options = std::move(*options);
  auto mount_point = resolve_mount_point(arguments.mount_point);
  if (!mount_point) return give_up(mount_point.error());
  plan.mount_point = std::move(*mount_point);
  return plan;
}

/// The waiting parent: one line comes through the pipe, "ok" or the failure.
Outcome<> wait_for_child(int pipe, pid_t child) {
  std::string line;
  char chunk[1024];
  ssize_t count = 0;
  while (line.find('\n') == std::string::npos && (count = ::read(pipe, chunk, sizeof chunk)) > 0)
    line.append(chunk, static_cast<std::size_t>(count));
  const json told = json::parse(line, nullptr, false);
  if (told.is_object() && told.contains("ok")) return {};
  int status = 0;
  ::waitpid(child, &status, 0);
  if (told.is_object() && told.contains("error"))
    return give_up(error_from_json(told["error"]), static_cast<Exit>(told.value("exit", 1)));
  const std::string how = WIFSIGNALED(status) ? std::string("was ended by signal ") + ::strsignal(WTERMSIG(status)) : "ended";
  return give_up(Error(Code::failed, "the drive's process " + how + " before the mount was ready", "its log may say why; -f shows it"));
}

void leave_terminal() {
  ::setsid();
  static_cast<void>(!::chdir("/"));
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd <= 2; ++fd) ::dup2(null, fd);
  if (null > 2) ::close(null);
}

}  // namespace

Outcome<> run_mount(const MountArguments& arguments) {
  auto plan = make_plan(arguments);
  if (!plan) return tl::unexpected<Failure>(plan.error());
  if (arguments.take_over) {
    if (auto found = find_drive(arguments.name); !found) return tl::unexpected<Failure>(found.error());
    if (auto taken = take_over_drive(plan->places, arguments.passphrase_file); !taken) return taken;
    std::cout.flush();
  }
  if (arguments.foreground) return run_daemon(*plan, [] {});

  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return give_up(fail_errno("make a pipe for", "the drive's process").value());
  const pid_t child = ::fork();
  if (child < 0) return give_up(fail_errno("start", "the drive's process").value());
  if (child > 0) {
    ::close(ends[1]);
    const Descriptor reading(ends[0]);
    return wait_for_child(reading.get(), child);
  }
  ::close(ends[0]);
  const auto tell = [&](const json& what) {
    static_cast<void>(send_all(ends[1], what.dump(-1, ' ', false, json::error_handler_t::replace) + "\n"));
    ::close(ends[1]);
    ends[1] = -1;
  };
  const auto ended = run_daemon(*plan, [&] {
    leave_terminal();
    tell({{"ok", true}});
  });
  if (!ended && ends[1] >= 0) tell({{"error", to_json(ended.error().error)}, {"exit", static_cast<int>(ended.error().exit)}});
  ::_exit(ended ? 0 : static_cast<int>(ended.error().exit));
}

}  // namespace atl
