#include "fs/command/running_drive.h"

#include <nlohmann/json.hpp>

#include "cache/drive/drive.h"
#include "cache/drive/home.h"
#include "engine/base/posix_disk.h"
#include "fs/command/papers.h"
#include "fs/command/status_report.h"

namespace atl {

namespace {

constexpr std::uint64_t config_bytes_max = 1u << 20;

}  // namespace

Outcome<Places> find_drive(const std::string& name) {
  auto places = find_places(name);
  if (!places) return give_up(places.error(), Exit::usage);
  PosixDisk disk;
  if (auto home = read_home(disk, places->state); !home) {
    if (home.error().code != Code::not_found) return give_up(home.error());
    return give_up(Error(Code::not_found, "there is no drive " + name + " in " + places->home,
                         "make one: atoll init" + (name == "default" ? std::string() : " " + name)),
                   Exit::no_drive);
  }
  return *places;
}

Outcome<> load_config(const Places& places, Config& config) {
  PosixDisk disk;
  const auto text = read_file(disk, places.config_file, config_bytes_max);
  if (!text && text.error().code == Code::not_found) return {};
  if (!text) return give_up(text.error());
  if (auto read = read_config(config, as_text(*text), places.config_file); !read) return give_up(read.error(), Exit::usage);
  return {};
}

Outcome<std::unique_ptr<ControlClient>> reach_drive(const Places& places) {
  auto client = ControlClient::connect(places.socket);
  if (client) return std::move(*client);
  if (client.error().code != Code::not_found) return give_up(client.error());
  const std::string name = places.name == "default" ? std::string() : places.name + " ";
  return give_up(Error(Code::not_found, "the drive " + places.name + " is not mounted", "atoll mount " + name + "MOUNTPOINT"),
                 Exit::no_drive);
}

Outcome<nlohmann::json> drive_status(const Places& places) {
  if (auto client = ControlClient::connect(places.socket)) {
    auto status = (*client)->ask({{"do", "status"}}, std::chrono::seconds(20));
    if (status) return *status;
    if (status.error().code != Code::unavailable) return give_up(status.error());
    // It has just ended: then its folder tells.
  } else if (client.error().code != Code::not_found) {
    return give_up(client.error());
  }
  PosixDisk disk;
  auto peeked = Drive::peek(disk, places.state);
  if (!peeked) return give_up(peeked.error());
  if (peeked->state != DriveState::fenced) {
    // Held without a socket: a process is on its way up or down.
    const bool held = !HomeLock::acquire(places.state, std::chrono::milliseconds(0));
    peeked->state = held ? DriveState::recovering : DriveState::unmounted;
  }
  nlohmann::json status = status_json(*peeked, places.name, "");
  add_papers(status, disk, places.state, SystemClock().wall_now());
  return status;
}

}  // namespace atl
