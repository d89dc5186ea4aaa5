// The identity file of a `dir:` node: reading it, and giving a folder one.
#include <algorithm>

#include "engine/node/dir_store.h"

namespace atl {

namespace {

constexpr std::string_view identity_name = "atoll-node";
constexpr std::string_view identity_first_line = "atoll-node 1\n";
constexpr std::uint64_t identity_bytes_max = 4096;

std::string identity_path(const std::string& folder) { return folder + "/" + std::string(identity_name); }

Result<NodeId> parse_identity(std::string_view text, const std::string& path) {
  const Error damaged(Code::corrupt, path + " is damaged");
  if (!text.starts_with("atoll-node ")) return fail(damaged);
  if (!text.starts_with(identity_first_line)) {
    return fail(Code::newer_format, path + " was written by a newer version of Atoll", "use that version or a later one");
  }
  text.remove_prefix(identity_first_line.size());
  constexpr std::size_t digits = NodeId::size * 2;
  if (!text.starts_with("id ") || text.size() < 4 + digits || text[3 + digits] != '\n') return fail(damaged);
  auto id = NodeId::from_hex(text.substr(3, digits));
  if (!id) return fail(damaged);
  return *id;
}

Result<> make_directories(Disk& disk, const std::string& path) {
  for (std::size_t at = path.find('/', 1);; at = path.find('/', at + 1)) {
    const std::string part = path.substr(0, at);
    auto there = disk.exists(part);
    if (!there) return fail(there.error());
    if (!*there) {
      if (auto done = disk.make_directory(part); !done) return done;
    }
    if (at == std::string::npos) return {};
  }
}

/// Only what an adoption that was cut short leaves, or what a fresh file system holds by itself.
Result<> require_unused(Disk& disk, const std::string& folder) {
  auto names = disk.list(folder);
  if (!names) return fail(names.error());
  for (const std::string& name : *names) {
    if (name == "lost+found" || name == "incoming") continue;
    if (name == "objects") {
      auto objects = disk.list(folder + "/objects");
      if (objects && objects->empty()) continue;
    }
    return fail(Code::not_empty, folder + " holds other files and is not a node",
                "name an empty folder, or one that does not exist yet");
  }
  return {};
}

Result<> write_identity(Disk& disk, const std::string& folder, NodeId id, Random& random) {
  for (const char* name : {"/objects", "/incoming"}) {
    if (auto done = disk.make_directory(folder + name); !done) return done;
  }
  const std::string temporary = folder + "/incoming/identity-" + random.id<AttemptId>().hex();
  {
    auto file = disk.open(temporary, OpenMode::create_new);
    if (!file) return fail(file.error());
    const std::string text = std::string(identity_first_line) + "id " + id.hex() + "\n";
    if (auto done = (*file)->write(0, as_bytes(text)); !done) return done;
    if (auto done = (*file)->sync(); !done) return done;
  }
  if (auto done = disk.rename_new(temporary, identity_path(folder)); !done) {
    (void)disk.remove(temporary);
    return done;
  }
  return disk.sync_directory(folder);
}

}  // namespace

Result<NodeId> read_identity(Disk& disk, const std::string& folder) {
  const std::string path = identity_path(folder);
  auto content = read_file(disk, path, identity_bytes_max);
  if (!content) return fail(content.error());
  return parse_identity(as_text(*content), path);
}

Result<NodeId> adopt_folder(Disk& disk, const std::string& folder, Random& random) {
  if (auto done = make_directories(disk, folder); !done) return fail(done.error());
  auto present = read_identity(disk, folder);
  if (present || present.error().code != Code::not_found) return present;
  if (auto done = require_unused(disk, folder); !done) return fail(done.error());
  const auto id = random.id<NodeId>();
  auto written = write_identity(disk, folder, id, random);
  // Another process may have been quicker; the node is what it made it.
  if (!written && written.error().code == Code::exists) return read_identity(disk, folder);
  if (!written) return fail(written.error());
  const auto slash = folder.find_last_of('/');
  if (auto done = disk.sync_directory(slash == 0 ? "/" : folder.substr(0, slash)); !done) return fail(done.error());
  return id;
}

}  // namespace atl
