// The lock that keeps a folder to one process at a time. Advisory; freed by its destructor, and by the kernel with its
// process, so that a crash leaves nothing to clean. It uses the system directly: which processes run no simulated disk knows.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "engine/base/result.h"

namespace atl {

class FolderLock {
 public:
  /// Locks FOLDER/lock, making the file if absent. Where another process has it still after `wait`: the error that `busy`
  /// gives, which is told its process id, or 0 where that is not known. Blocks for up to `wait`.
  static Result<std::unique_ptr<FolderLock>> take(const std::string& folder, std::chrono::milliseconds wait, const std::function<Error(long holder)>& busy);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  explicit FolderLock(int file) : file_(file) {}
  int file_;
};

}  // namespace atl
