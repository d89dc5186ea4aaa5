// The drive's folder on this computer: which keyring, wrapped how, and who holds the lock.
//
// Files (FORMAT.md, "State folder"): `volume` (JSON: format, volume id, wrapped keyring, passphrase parameters if any),
// `local.key` (32 random bytes, 0600, absent where a passphrase wraps the keyring), `lock`, and what the drive keeps
// itself: journal/, index.db, checkpoint/, staging/, cache/.
//
// The functions over a Disk block on it and are thread-safe for different folders; one folder is written by create_home
// alone. Keys are pages of guarded memory; texts that a caller hands in are the caller's to wipe.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "cache/keys/keyring.h"
#include "engine/base/disk.h"
#include "engine/base/random.h"
#include "engine/base/result.h"

namespace atl {

struct HomeInfo {
  std::uint32_t format = 0;
  VolumeId volume;
  bool passphrase = false;  // a passphrase is needed to open it
};

/// Writes keys for a new drive into an existing directory. With a passphrase, it wraps the keyring; without, a random
/// local key beside it does. The recovery key wraps it as well, so that the kit opens this folder too.
/// Code::exists if the directory holds a drive already; then, as after any failure, nothing is changed.
Result<> create_home(Disk& disk, const std::string& directory, const Keyring& keyring, const SecretKey& recovery,
                     std::optional<std::string_view> passphrase, Random& random);

/// The recovery key, which lies in the folder sealed under the keyring, so that kits can be made again. Code::not_found
/// where an older version made the folder and did not keep it. Errors as of read_home.
Result<SecretKey> read_recovery_key(Disk& disk, const std::string& directory, const Keyring& keyring);

/// Replaces the folder's keyring and what opens it: with a passphrase that, without one the local key (a new one where a
/// passphrase did so far). `recovery` wraps the keyring as well; nullptr: the recovery key stays, and `keyring` is the one
/// that the folder has. One file is replaced whole: after a crash at any point the folder opens in the old way or in the
/// new one. The caller holds the folder's lock. Errors as of create_home, and of read_home.
Result<> rewrap_home(Disk& disk, const std::string& directory, const Keyring& keyring, const SecretKey* recovery,
                     std::optional<std::string_view> passphrase, Random& random);

/// Reads what can be known without keys. Code::not_found if the directory holds no drive, newer_format, corrupt.
Result<HomeInfo> read_home(Disk& disk, const std::string& directory);

/// The keyring as the recovery key wraps it. Errors as of read_home.
Result<Bytes> read_wrapped_keyring(Disk& disk, const std::string& directory);

/// Opens the keyring. `ask` is called at most once, and only where a passphrase is needed; its error is passed on.
/// Code::key for a wrong passphrase or a missing local key.
Result<Keyring> unlock_home(Disk& disk, const std::string& directory, const std::function<Result<std::string>()>& ask);

/// Opens the keyring with the recovery key instead: the passphrase is forgotten, or the local key is gone. Code::key if
/// it is another drive's.
Result<Keyring> unlock_home_with_recovery_key(Disk& disk, const std::string& directory, const SecretKey& recovery);

/// Exclusive ownership of a drive's folder by this process (an advisory lock that ends with the process). It is taken
/// by whoever will keep it: a process that forks takes it after the fork, since the lock file names its holder.
class HomeLock {
 public:
  /// Code::busy, naming the holder's process id, if it is held after `wait`. Blocks for up to `wait`.
  static Result<std::unique_ptr<HomeLock>> acquire(const std::string& directory, std::chrono::milliseconds wait);
  virtual ~HomeLock() = default;
};

}  // namespace atl
