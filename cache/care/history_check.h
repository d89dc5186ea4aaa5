// Whether the journal on disk is whole, and the index what the journal says.
//
// Both go on beside a drive in use: the journal is read in steps, and the index is made a second time, from the local
// checkpoint and the journal, in a file of its own (`check.db` in the state folder), and compared row by row with the
// real one at one LSN. Blocks for the local disk.
#pragma once

#include <functional>
#include <stop_token>

#include "cache/care/check.h"
#include "cache/drive/committer.h"
#include "cache/drive/core.h"

namespace atl {

class HistoryCheck {
 public:
  using Show = std::function<void(CheckProgress::Step, std::uint64_t done, std::uint64_t total)>;
  HistoryCheck(DriveCore& core, Committer& committer, std::stop_token stop, Show show)
      : core_(core), committer_(committer), stop_(std::move(stop)), show_(std::move(show)) {}

  /// Fills what the report says of the journal. Damage is an answer; Code::cancelled.
  Result<> check_journal(CheckReport& report);
  /// Fills what the report says of the index, and adds the files that its wrong rows touch. Damage is an answer;
  /// Code::cancelled, no_space and other errors of the disk.
  Result<> check_index(CheckReport& report);
  /// What a check that was killed has left.
  static void clean(Disk& disk, const std::string& directory);

 private:
  struct Rows;
  Result<> walk(Lsn from, Lsn upto, const std::function<Result<>(const JournalBatch&)>& visit);
  Result<> compare(CheckReport& report);

  DriveCore& core_;
  Committer& committer_;
  const std::stop_token stop_;
  const Show show_;
};

}  // namespace atl
