// SQLite's files through the Disk: what a power cut, a full disk or a failed flush does to the index, a test decides.
//
// One object serves all connections to one database; they share locks and the memory of the write-ahead log, which live
// here and not in files, since one process at a time owns a state folder. Closed connections first, then this. A file
// whose flush failed takes no more writes or flushes, whoever holds it: SQLite would flush again and believe it.
// Read-only, nothing is created or changed, a log that is there is read.
// Thread-safe as far as its Disk is. Temporary files are refused: connections keep temporary things in memory.
#pragma once

#include <memory>
#include <string>

#include "engine/base/disk.h"

namespace atl {

class DiskVfs {
 public:
  /// Registers itself with SQLite under a name of its own, until it is destroyed. The disk outlives it.
  DiskVfs(Disk& disk, bool read_only);
  ~DiskVfs();
  DiskVfs(const DiskVfs&) = delete;
  DiskVfs& operator=(const DiskVfs&) = delete;

  const std::string& name() const;
  bool read_only() const;

  struct State;  // known to the functions that SQLite calls

 private:
  std::unique_ptr<State> state_;
};

}  // namespace atl
