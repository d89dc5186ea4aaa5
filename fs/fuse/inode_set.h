// The inodes of which the kernel may hold pages: those it has read or written since it last forgot them. What
// `cache drop` goes through. Thread-safe; sharded, since every read and write passes here.
#pragma once

#include <array>
#include <mutex>
#include <unordered_set>
#include <vector>

#include "engine/base/ids.h"

namespace atl {

class InodeSet {
 public:
  /// True if it was not in the set.
  bool insert(InodeNumber inode) {
    Shard& shard = of(inode);
    const std::lock_guard lock(shard.mutex);
    return shard.inodes.insert(inode).second;
  }
  void erase(InodeNumber inode) {
    Shard& shard = of(inode);
    const std::lock_guard lock(shard.mutex);
    shard.inodes.erase(inode);
  }
  std::vector<InodeNumber> all() const {
    std::vector<InodeNumber> result;
    for (const Shard& shard : shards_) {
      const std::lock_guard lock(shard.mutex);
      result.insert(result.end(), shard.inodes.begin(), shard.inodes.end());
    }
    return result;
  }

 private:
  struct Shard {
    mutable std::mutex mutex;
    std::unordered_set<InodeNumber> inodes;  // guarded by mutex
  };
  Shard& of(InodeNumber inode) { return shards_[inode.value % shards_.size()]; }

  std::array<Shard, 16> shards_;
};

}  // namespace atl
