#include "engine/daemon/server_folder.h"

#include <sys/stat.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "engine/base/os_error.h"

namespace atl {

namespace {

using Json = nlohmann::json;

constexpr unsigned format_number = 1;
constexpr std::uint64_t invite_bytes_max = 16384;

std::string server_path(const std::string& folder) { return folder + "/server"; }
std::string key_path(const std::string& folder) { return server_path(folder) + "/key"; }
std::string address_path(const std::string& folder) { return server_path(folder) + "/address"; }
std::string invites_path(const std::string& folder) { return server_path(folder) + "/invites"; }
std::string invite_path(const std::string& folder, const KeyId& id) { return invites_path(folder) + "/" + id.hex(); }

Error never_served(const std::string& folder) {
  return Error(Code::not_found, folder + " is not the data folder of a node that has run",
               "start the node first: atoll node serve --data " + folder + " ...");
}

std::string_view to_string(InviteRecord::State state) {
  switch (state) {
    case InviteRecord::State::open: return "open";
    case InviteRecord::State::claimed: return "claimed";
    case InviteRecord::State::redeemed: return "redeemed";
  }
  return "open";
}

Result<> make_folders(Disk& disk, const std::string& folder) {
  for (const std::string& path : {server_path(folder), invites_path(folder)})
    if (auto made = disk.make_directory(path); !made) return made;
  if (auto synced = disk.sync_directory(server_path(folder)); !synced) return synced;
  return disk.sync_directory(folder);
}

}  // namespace

Result<std::unique_ptr<FolderLock>> lock_data_folder(const std::string& folder) {
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno("create directory", folder);
  return FolderLock::take(folder, std::chrono::milliseconds(0), [&](long holder) {
    return Error(Code::busy, "the node in " + folder + " is running" + (holder > 0 ? " as process " + std::to_string(holder) : ""),
                 "one daemon at a time can serve a data folder");
  });
}

Result<KeyPair> existing_node_key(Disk& disk, const std::string& folder) {
  auto bytes = read_file(disk, key_path(folder), KeySeed::size);
  if (!bytes && bytes.error().code == Code::not_found) return fail(never_served(folder));
  if (!bytes) return fail(bytes.error());
  if (bytes->size() != KeySeed::size)
    return fail(Code::corrupt, "the node's key " + key_path(folder) + " does not have 32 bytes",
                "restore it from a copy: without it nobody accepts this node any more");
  KeySeed seed;
  std::copy(bytes->begin(), bytes->end(), seed.bytes.begin());
  KeyPair pair = KeyPair::from_seed(seed);
  wipe(seed);
  return pair;
}

Result<KeyPair> node_key(Disk& disk, const std::string& folder, Random& random) {
  if (auto made = make_folders(disk, folder); !made) return fail(made.error());
  auto there = existing_node_key(disk, folder);
  if (there || there.error().code != Code::not_found) return there;
  auto seed = random.id<KeySeed>();
  if (auto written = replace_file(disk, key_path(folder), seed.view()); !written) return fail(written.error());
  KeyPair pair = KeyPair::from_seed(seed);
  wipe(seed);
  return pair;
}

Result<> write_advertised(Disk& disk, const std::string& folder, const NetAddress& address) {
  return replace_file(disk, address_path(folder), as_bytes(address.text() + "\n"));
}

Result<NetAddress> read_advertised(Disk& disk, const std::string& folder) {
  const auto text = read_file(disk, address_path(folder), 1024);
  if (!text && text.error().code == Code::not_found) return fail(never_served(folder));
  if (!text) return fail(text.error());
  std::string_view line = as_text(*text);
  return parse_address(line.substr(0, line.find('\n')));
}

Result<> write_invite(Disk& disk, const std::string& folder, const InviteRecord& invite) {
  Json json{{"format", format_number},
            {"quota_bytes", invite.quota_bytes},
            {"expires_seconds", invite.expires_seconds},
            {"label", invite.label},
            {"state", to_string(invite.state)}};
  if (invite.state != InviteRecord::State::open) json["account"] = invite.account.hex();
  const std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  return replace_file(disk, invite_path(folder, invite.id), as_bytes(text));
}

Result<InviteRecord> read_invite(Disk& disk, const std::string& folder, const KeyId& id) {
  const std::string path = invite_path(folder, id);
  const auto bytes = read_file(disk, path, invite_bytes_max);
  if (!bytes) return fail(bytes.error());
  const auto damaged = [&] { return fail(Code::corrupt, "the invite " + path + " is damaged", "remove it and make another"); };
  const Json json = Json::parse(bytes->begin(), bytes->end(), nullptr, false);
  if (!json.is_object()) return damaged();
  try {
    if (json.at("format").get<unsigned>() > format_number)
      return fail(Code::newer_format, "the invite " + path + " was written by a newer version of atoll");
    InviteRecord invite;
    invite.id = id;
    invite.quota_bytes = json.at("quota_bytes").get<std::uint64_t>();
    invite.expires_seconds = json.at("expires_seconds").get<std::int64_t>();
    invite.label = json.at("label").get<std::string>();
    const auto state = json.at("state").get<std::string>();
    for (const auto known : {InviteRecord::State::open, InviteRecord::State::claimed, InviteRecord::State::redeemed})
      if (state == to_string(known)) invite.state = known;
    if (state != to_string(invite.state)) return damaged();
    if (invite.state == InviteRecord::State::open) return invite;
    const auto account = AccountId::from_hex(json.at("account").get<std::string>());
    if (!account) return damaged();
    invite.account = *account;
    return invite;
  } catch (const Json::exception&) {
    return damaged();
  }
}

Result<std::size_t> sweep_invites(Disk& disk, const std::string& folder, Timestamp now) {
  auto names = disk.list(invites_path(folder));
  if (!names) return fail(names.error());
  std::size_t swept = 0;
  for (const std::string& name : *names) {
    const auto id = KeyId::from_hex(name);
    if (!id) continue;
    const auto invite = read_invite(disk, folder, *id);
    if (!invite || invite->expires_seconds > now.seconds) continue;
    if (auto removed = disk.remove(invite_path(folder, *id)); !removed) return fail(removed.error());
    ++swept;
  }
  return swept;
}

Result<Invite> make_invite(Disk& disk, const std::string& folder, Random& random, std::uint64_t quota_bytes,
                           std::int64_t expires_seconds, const std::string& label) {
  const auto key = existing_node_key(disk, folder);
  if (!key) return fail(key.error());
  const auto address = read_advertised(disk, folder);
  if (!address) return fail(address.error());
  Invite invite;
  invite.address = *address;
  invite.node.bytes = key->id().bytes;
  invite.key = random.id<KeySeed>();
  InviteRecord record;
  record.id = KeyPair::from_seed(invite.key).id();
  record.quota_bytes = quota_bytes;
  record.expires_seconds = expires_seconds;
  record.label = label;
  if (auto written = write_invite(disk, folder, record); !written) return fail(written.error());
  return invite;
}

}  // namespace atl
