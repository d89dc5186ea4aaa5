// The computer's own copies of the metadata objects that nodes hold: what a node lacks is sent from here, and what is
// here and in no head that counts is what nodes may still have to forget.
//
// One file an object, sealed as on nodes, in `heads/` of the state folder. Objects are saved durably before the first
// node sees them, so that nothing lies on nodes that this computer does not know. A retired object keeps its empty file
// until no node holds it any more. FORMAT.md, "State folder". Thread-safe.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "cache/heads/head.h"
#include "engine/base/disk.h"

namespace atl {

class HeadStore {
 public:
  /// Makes the folder if need be. Errors are the disk's.
  static Result<std::unique_ptr<HeadStore>> open(Disk& disk, std::string directory);

  Result<> save(const MetaName& name, ByteView object);
  /// Code::not_found also if it is retired.
  Result<std::shared_ptr<const Bytes>> load(const MetaName& name);
  /// Everything that is not retired; heads in order.
  std::vector<MetaName> held() const;
  std::vector<MetaName> retired() const;
  /// Only its name is kept from now on.
  Result<> retire(const MetaName& name);
  Result<> forget(const MetaName& name);

 private:
  HeadStore(Disk& disk, std::string directory) : disk_(disk), directory_(std::move(directory)) {}
  std::string path(const MetaName& name) const;

  Disk& disk_;
  const std::string directory_;
  mutable std::mutex mutex_;
  std::map<MetaName, bool> known_;  // true: retired
  MetaName last_name_;              // several nodes ask for one object in turn
  std::shared_ptr<const Bytes> last_;
};

/// The newest epoch that was claimed from this folder; 1 if none was. Errors are the disk's.
Result<std::uint32_t> claimed_epoch(Disk& disk, const std::string& directory);

/// The newest head among what is held, and whether there is one. Code::corrupt if the newest is damaged.
Result<std::optional<Head>> newest_head(HeadStore& store, const MetaSealer& sealer, const Keyring& keyring);

}  // namespace atl
