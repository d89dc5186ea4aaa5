#include "fs/config/places.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>

namespace atl {

Result<> check_drive_name(std::string_view name) {
  constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  const bool good = !name.empty() && name.size() <= 64 && letters.find(name.front()) != std::string_view::npos &&
                    name.find_first_not_of(std::string(letters) + "._-") == std::string_view::npos &&
                    !name.ends_with(".nodes");
  if (good) return {};
  return fail(Code::invalid, "\"" + std::string(name) + "\" cannot be the name of a drive",
              "a name has 1 to 64 letters, digits, '.', '_' or '-', begins with a letter or digit, and does not end in "
              "\".nodes\"");
}

Result<Places> find_places(const std::string& name, const Variables& variables, bool root) {
  if (auto good = check_drive_name(name); !good) return fail(good.error());
  // XDG: a relative path in a variable is to be ignored.
  const auto directory = [&](const char* variable) -> std::string {
    const char* value = variables(variable);
    return value != nullptr && value[0] == '/' ? value : "";
  };
  Places places;
  places.name = name;
  const char* atoll_home = variables("ATOLL_HOME");
  if (atoll_home != nullptr && atoll_home[0] != 0) {
    places.home = std::filesystem::absolute(atoll_home).lexically_normal().string();
  } else if (const std::string data = directory("XDG_DATA_HOME"); !data.empty()) {
    places.home = data + "/atoll";
  } else if (const std::string home = directory("HOME"); !home.empty()) {
    places.home = home + "/.local/share/atoll";
  } else {
    return fail(Code::invalid, "neither ATOLL_HOME nor HOME says where drives are", "set ATOLL_HOME to a directory");
  }
  while (places.home.size() > 1 && places.home.back() == '/') places.home.pop_back();
  places.state = places.home + "/" + name;
  places.nodes = places.home + "/" + name + ".nodes";
  places.log_file = places.state + "/log";
  places.socket = places.state + "/control.sock";

  std::string config;
  if (const std::string xdg = directory("XDG_CONFIG_HOME"); !xdg.empty())
    config = xdg + "/atoll";
  else if (atoll_home != nullptr && atoll_home[0] != 0)
    config = places.home;
  else if (root)
    config = "/etc/atoll";
  else
    config = directory("HOME") + "/.config/atoll";
  places.config_file = config + "/" + name + ".toml";
  return places;
}

Result<Places> find_places(const std::string& name) {
  return find_places(name, [](const char* variable) { return std::getenv(variable); }, ::geteuid() == 0);
}

}  // namespace atl
