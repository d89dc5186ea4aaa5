#include "fs/command/opened_drive.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "engine/daemons.h"
#include "fs/command/terminal.h"

namespace atl {

namespace {

constexpr auto close_bound = std::chrono::seconds(10);

}  // namespace

Outcome<std::unique_ptr<OpenedDrive>> OpenedDrive::open(const Places& places, const std::string& passphrase_file, const DriveOptions& options) {
  std::unique_ptr<OpenedDrive> opened(new OpenedDrive);
  auto keyring = unlock_home(opened->disk_, places.state, [&] { return find_passphrase(passphrase_file, places.name); });
  if (!keyring) return give_up(keyring.error());
  auto lock = HomeLock::acquire(places.state, std::chrono::milliseconds(0));
  if (!lock) return give_up(lock.error());
  opened->lock_ = std::move(*lock);
  auto credentials = node_credentials(opened->disk_, places.state, *keyring, opened->random_);
  if (!credentials) return give_up(credentials.error());
  opened->credentials_ = std::move(*credentials);
  opened->runtime_ = std::make_unique<ThreadRuntime>(2, opened->clock_);
  auto drive = Drive::open(DriveSeams{opened->disk_, opened->clock_, opened->random_, *opened->runtime_}, places.state, std::move(*keyring), options);
  if (!drive) return give_up(drive.error());
  opened->drive_ = std::move(*drive);
  return opened;
}

OpenedDrive::~OpenedDrive() { (void)close(); }

Result<> OpenedDrive::connect(Duration patience) {
  auto made = make_engine(drive_->nodes(), credentials_, EngineOptions{}, clock_, random_);
  if (!made) return fail(made.error());
  engine_ = std::move(*made);
  struct Seen {
    std::mutex mutex;
    std::condition_variable changed;
  };
  const auto seen = std::make_shared<Seen>();
  // Before the drive listens to the same.
  engine_->on_node_change([seen] {
    const std::lock_guard lock(seen->mutex);
    seen->changed.notify_all();
  });
  {
    std::unique_lock lock(seen->mutex);
    (void)seen->changed.wait_for(lock, patience, [&] {  // who is not found by then is away
      const auto nodes = engine_->nodes();
      return std::none_of(nodes.begin(), nodes.end(), [](const NodeStatus& node) { return node.state == NodeState::absent; });
    });
  }
  engine_->on_node_change([] {});
  drive_->start(*engine_);
  return {};
}

Result<> OpenedDrive::close() {
  if (!drive_) return {};
  auto closed = drive_->close(close_bound);
  drive_.reset();
  if (engine_) engine_->close();
  return closed;
}

}  // namespace atl
