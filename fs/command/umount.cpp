// `atoll umount`: asks the drive's process to hand over, then waits until it is gone and the lock is free.
#include <poll.h>
#include <sys/syscall.h>
#include <sys/stat.h>
#include <unistd.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "cache/drive/home.h"
#include "engine/base/bytes.h"
#include "fs/command/commands.h"
#include "fs/command/running_drive.h"
#include "fs/command/terminal.h"
#include "fs/control/unix_socket.h"
#include "fs/mount/mount_point.h"

namespace atl {

using nlohmann::json;

namespace {

constexpr auto end_bound = std::chrono::seconds(30);

Outcome<> wait_until_free(const Descriptor& process, const Places& places) {
  if (process) {
    pollfd poll{process.get(), POLLIN, 0};
    if (::poll(&poll, 1, static_cast<int>(std::chrono::milliseconds(end_bound).count())) == 0)
      return give_up(Error(Code::timed_out, "the drive is unmounted but its process has not ended", "its log is " + places.log_file));
  }
  auto lock = HomeLock::acquire(places.state, end_bound);
  if (!lock && lock.error().code == Code::busy) return give_up(lock.error());
  return {};
}

Error busy_error(const std::string& mount_point) {
  const std::string who = describe(holders_of(mount_point));
  return Error(Code::busy, mount_point + " is in use" + (who.empty() ? std::string() : " by " + who),
               "close what uses it, or detach it now and let it go with the last of them: atoll umount --lazy " + mount_point);
}

void say_what_is_only_here(std::uint64_t staged) {
  if (staged != 0)
    std::cout << human_bytes(staged) << " (" << staged
              << " bytes) exist on this computer only; they are sent to the nodes at the next mount.\n";
  else
    std::cout << "Unmounted; 0 bytes exist on this computer only: the nodes hold everything.\n";
}

}  // namespace

Outcome<> run_umount(const UmountArguments& arguments) {
  auto mount_point = resolve_mount_point(arguments.mount_point);
  if (!mount_point) return give_up(mount_point.error(), Exit::no_drive);
  const auto mount = mount_at(*mount_point);
  const auto name = mount ? drive_name_of(*mount) : std::nullopt;
  if (!name)
    return give_up(Error(Code::not_found, "no drive is mounted on " + *mount_point, "atoll status [NAME] says where a drive is mounted"),
                   Exit::no_drive);
  auto places = find_places(*name);
  if (!places) return give_up(places.error());

  auto client = ControlClient::connect(places->socket);
  bool ours = false;
  if (client) {
    const auto status = (*client)->ask({{"do", "status"}}, std::chrono::seconds(20));
    ours = status && status->value("mounted_at", json()) == json(*mount_point);
  }
  if (!ours) {
    // Another user's or another ATOLL_HOME's drive, or a dead mount: the system's own unmount is all there is.
    if (arguments.sync)
      return give_up(Error(Code::unavailable, "the process of the drive on " + *mount_point + " cannot be asked to sync",
                           "give the ATOLL_HOME and user that it was mounted with, or leave out --sync"));
    struct stat stat {};
    const bool dead = ::stat(mount_point->c_str(), &stat) != 0;
    if (auto done = unmount(*mount_point, arguments.lazy || dead); !done)
      return done.error().code == Code::busy ? give_up(busy_error(*mount_point)) : give_up(done.error());
    return {};
  }

  const Descriptor process(static_cast<int>(::syscall(SYS_pidfd_open, (*client)->process(), 0)));
  ProgressBar bar;
  auto answer = (*client)->ask({{"do", "stop"}, {"lazy", arguments.lazy}, {"sync", arguments.sync}}, answer_patience,
                               [&](const json& progress) {
                                 bar.show(progress.value("done", std::uint64_t{0}), progress.value("total", std::uint64_t{0}));
                               });
  if (!answer) {
    if (answer.error().code == Code::busy) return give_up(busy_error(*mount_point));
    return give_up(answer.error());
  }
  client->reset();
  if (auto gone = wait_until_free(process, *places); !gone) return gone;
  say_what_is_only_here(answer->value("staged_bytes", std::uint64_t{0}));
  return {};
}

}  // namespace atl
