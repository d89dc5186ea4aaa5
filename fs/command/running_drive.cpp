#include "fs/command/running_drive.h"

#include "cache/drive/home.h"
#include "engine/base/posix_disk.h"

namespace atl {

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

Outcome<std::unique_ptr<ControlClient>> reach_drive(const Places& places) {
  auto client = ControlClient::connect(places.socket);
  if (client) return std::move(*client);
  if (client.error().code != Code::not_found) return give_up(client.error());
  const std::string name = places.name == "default" ? std::string() : places.name + " ";
  return give_up(Error(Code::not_found, "the drive " + places.name + " is not mounted", "atoll mount " + name + "MOUNTPOINT"),
                 Exit::no_drive);
}

}  // namespace atl
