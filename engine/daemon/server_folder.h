// What the server of a node keeps in the data folder beside the store: its key, its address, and the invites.
//
//     DIR/server/key            the seed of the node's key, 32 bytes
//     DIR/server/address        HOST:PORT, as invites name it
//     DIR/server/invites/ID     one invite each, JSON
//
// Every file is replaced whole, so that `atoll node invite` may write beside a running daemon, which reads an invite
// each time somebody shows its key. Blocking; thread-safe for different files.
#pragma once

#include <optional>
#include <string>

#include "engine/base/clock.h"
#include "engine/base/disk.h"
#include "engine/base/folder_lock.h"
#include "engine/base/random.h"
#include "engine/daemon/store/object_store.h"
#include "engine/net/address.h"

namespace atl {

/// Keeps the data folder to one daemon, making the folder (not its parents) if absent. Code::busy: another process has it.
Result<std::unique_ptr<FolderLock>> lock_data_folder(const std::string& folder);

struct InviteRecord {
  enum class State {
    open,
    claimed,   // an account's key was bound to it; the account may not have been made yet
    redeemed,  // it was
  };
  KeyId id;
  std::uint64_t quota_bytes = 0;
  std::int64_t expires_seconds = 0;  // wall clock, since 1970
  std::string label;
  State state = State::open;
  AccountId account;  // unless open
};

/// The node's key, made at the first call. Makes DIR/server if absent; DIR is there.
Result<KeyPair> node_key(Disk& disk, const std::string& folder, Random& random);
/// Code::not_found where no server has run yet.
Result<KeyPair> existing_node_key(Disk& disk, const std::string& folder);

Result<> write_advertised(Disk& disk, const std::string& folder, const NetAddress& address);
/// Code::not_found where no server has run yet.
Result<NetAddress> read_advertised(Disk& disk, const std::string& folder);

Result<> write_invite(Disk& disk, const std::string& folder, const InviteRecord& invite);
/// Code::not_found, corrupt, newer_format.
Result<InviteRecord> read_invite(Disk& disk, const std::string& folder, const KeyId& id);
/// Removes those whose time has passed; how many.
Result<std::size_t> sweep_invites(Disk& disk, const std::string& folder, Timestamp now);

/// A fresh invite for one account, written down before it is returned.
Result<Invite> make_invite(Disk& disk, const std::string& folder, Random& random, std::uint64_t quota_bytes,
                           std::int64_t expires_seconds, const std::string& label);

}  // namespace atl
