// The computer's own disk, by the system calls of POSIX and Linux.
//
// Errors carry errno in os_error and name the path. Thread-safe, without a lock: it holds no state. Files are opened
// close-on-exec; interrupted calls are taken up again.
#pragma once

#include "engine/base/disk.h"

namespace atl {

class PosixDisk final : public Disk {
 public:
  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Result<> rename(const std::string& from, const std::string& to) override;
  Result<> link(const std::string& from, const std::string& to) override;
  Result<> rename_new(const std::string& from, const std::string& to) override;
  Result<> remove(const std::string& path) override;
  Result<> make_directory(const std::string& path) override;
  Result<> sync_directory(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& path) override;
  Result<bool> exists(const std::string& path) override;
  Result<DiskUsage> usage(const std::string& path) override;
};

}  // namespace atl
