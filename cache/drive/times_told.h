// Which files' times the kernel set a moment ago.
//
// Under its write-back cache the kernel keeps a file's times and tells them by SETATTR; that the drive sets them at each
// WRITE is for the crash between the two. Background write-back sends both without waiting in between, so that a WRITE
// may be served after the SETATTR that belongs to it: the time of its service must not replace what was told then, or
// the file would show other times once the kernel forgets it. Not thread-safe: guarded by the drive's state lock.
#pragma once

#include <chrono>
#include <unordered_map>

#include "engine/base/clock.h"
#include "engine/base/ids.h"

namespace atl {

class TimesTold {
 public:
  /// The kernel has set both mtime and ctime of `inode`, at the moment `now`.
  void told(InodeNumber inode, MonotonicTime now) {
    if (now - pruned_ >= stand_for) {
      std::erase_if(at_, [now](const auto& each) { return now - each.second >= stand_for; });
      pruned_ = now;
    }
    at_[inode] = now;
  }
  /// Whether that was so lately that a write served at `now` leaves the times alone.
  bool stand(InodeNumber inode, MonotonicTime now) const {
    const auto at = at_.find(inode);
    return at != at_.end() && now - at->second < stand_for;
  }

 private:
  /// Far longer than a request waits for a worker; a crash leaves times that are older than the content by no more.
  static constexpr Duration stand_for = std::chrono::seconds(5);

  std::unordered_map<InodeNumber, MonotonicTime> at_;
  MonotonicTime pruned_{};
};

}  // namespace atl
