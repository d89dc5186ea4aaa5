// A drive that no process runs, opened by a command for its own time. Blocks; one thread.
#pragma once

#include <memory>
#include <string>

#include "cache/drive/drive.h"
#include "cache/drive/home.h"
#include "cache/keys/node_credentials.h"
#include "engine/base/posix_disk.h"
#include "engine/base/thread_runtime.h"
#include "fs/command/exit_code.h"
#include "fs/config/places.h"

namespace atl {

class OpenedDrive {
 public:
  /// Asks for a passphrase where one is needed. Exit::busy if a process holds the drive.
  static Outcome<std::unique_ptr<OpenedDrive>> open(const Places& places, const std::string& passphrase_file, const DriveOptions& options);
  ~OpenedDrive();

  Drive& drive() { return *drive_; }
  const NodeCredentials& credentials() const { return *credentials_; }
  Clock& clock() { return clock_; }
  Random& random() { return random_; }

  /// Starts the drive with its nodes, and waits up to `patience` for them to be found.
  Result<> connect(Duration patience);
  /// What was changed is durable once this succeeds. Idempotent.
  Result<> close();

 private:
  OpenedDrive() = default;

  PosixDisk disk_;
  SystemClock clock_;
  SystemRandom random_;
  std::unique_ptr<HomeLock> lock_;
  std::shared_ptr<const NodeCredentials> credentials_;
  std::unique_ptr<ThreadRuntime> runtime_;
  std::unique_ptr<Engine> engine_;  // outlives the drive
  std::unique_ptr<Drive> drive_;
};

}  // namespace atl
