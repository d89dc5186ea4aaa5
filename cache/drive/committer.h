// Group commit: makes what was accepted durable, and folds it into the index behind.
//
// A commit is a cut through the history: under the state lock all unsealed bytes get places and records, and the
// records so far become one batch. Then, without the lock: frames written, segments synced, batch appended to the
// journal. Because the cut is whole, the batch leaves the drive at a state that it really had: the prefix law.
// Thread-safe; commits run one at a time, and whoever waits for the lock finds its work often done.
#pragma once

#include <deque>
#include <mutex>

#include "cache/drive/core.h"
#include "cache/drive/tasks.h"

namespace atl {

class Committer {
 public:
  Committer(DriveCore& core, Tasks& tasks) : core_(core), tasks_(tasks) {}

  /// Everything accepted before the call is durable once this succeeds. Code::no_space: nothing was lost, try again
  /// when there is room. After any other failure the drive takes no more changes.
  Result<> commit();
  struct Mark {
    Lsn lsn;
    ChainHash chain{};
  };
  /// Commits, and calls `at_cut` under the state lock at the very moment that the commit stands for, which is returned.
  Result<Mark> mark(const std::function<void()>& at_cut);
  /// Applies to the index what is durable. A full disk is no failure: it is tried again. Code as of IndexStore::apply.
  Result<> apply();
  /// IndexStore::flush, while nothing is applied.
  Result<Lsn> flush_index();

  /// Runs `use` on the journal while no commit runs.
  template <typename Use>
  auto with_journal(Use use) {
    std::lock_guard lock(commit_mutex_);
    return use(*core_.journal);
  }

 private:
  struct Frame {
    SegmentWriter::Place place;
    ExtentId extent;
    std::shared_ptr<const Bytes> plain;
  };
  struct Cut {
    Bytes body;
    std::uint32_t count = 0;
    std::uint64_t changes = 0;
    Lsn upto;
    std::vector<Frame> frames;
    IndexChanges index;
    std::vector<std::function<void()>> after;
  };

  /// nullopt: nothing to commit.
  Result<std::optional<Cut>> make_cut(const std::function<void()>& at_cut);
  Result<> commit_cut(std::unique_lock<std::mutex>& commit_lock, const std::function<void()>& at_cut, Mark* mark);
  Result<> write_frames(const Cut& cut);
  void schedule_apply();

  DriveCore& core_;
  Tasks& tasks_;
  std::mutex commit_mutex_;
  std::mutex apply_mutex_;
  std::mutex queue_mutex_;
  std::deque<IndexChanges> queue_;
  std::size_t queued_weight_ = 0;
  bool apply_scheduled_ = false;
};

}  // namespace atl
