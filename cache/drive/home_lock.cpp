// The lock on a drive's folder.
#include "cache/drive/home.h"
#include "engine/base/folder_lock.h"

namespace atl {

namespace {

class FolderHomeLock final : public HomeLock {
 public:
  explicit FolderHomeLock(std::unique_ptr<FolderLock> lock) : lock_(std::move(lock)) {}

 private:
  const std::unique_ptr<FolderLock> lock_;
};

}  // namespace

Result<std::unique_ptr<HomeLock>> HomeLock::acquire(const std::string& directory, std::chrono::milliseconds wait) {
  auto lock = FolderLock::take(directory, wait, [&](long holder) {
    return Error(Code::busy, "the drive in " + directory + " is in use" + (holder > 0 ? " by process " + std::to_string(holder) : ""),
                 "unmount it first, or wait for that process to end");
  });
  if (!lock) return fail(lock.error());
  return std::make_unique<FolderHomeLock>(std::move(*lock));
}

}  // namespace atl
