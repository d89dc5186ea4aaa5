#include "engine/daemon/node_service.h"

#include <spdlog/spdlog.h>

#include "engine/base/posix_disk.h"
#include "engine/base/thread_runtime.h"
#include "engine/daemon/server_folder.h"

namespace atl {

namespace {

constexpr Duration upkeep_every = std::chrono::seconds(1);
constexpr Duration sweep_every = std::chrono::hours(1);

bool is_anywhere(const std::string& host) { return host == "0.0.0.0" || host == "::"; }

class Service final : public NodeService {
 public:
  Service(NodeServiceOptions options, Clock& clock) : options_(std::move(options)), clock_(clock), upkeep_(1, clock) {}

  ~Service() override {
    if (!stopped_) stop(std::chrono::seconds(1));
  }

  Result<> open(Random& random) {
    const std::string& host = options_.advertise ? options_.advertise->host : options_.server.listen.host;
    if (is_anywhere(host))
      return fail(Code::invalid, "invites would name " + host + ", where no drive finds this node",
                  "say how drives reach it: --advertise HOST:PORT");
    auto lock = lock_data_folder(options_.folder);
    if (!lock) return fail(lock.error());
    lock_ = std::move(*lock);
    auto store = ObjectStore::open(disk_, options_.folder, options_.store, clock_);
    if (!store) return fail(store.error());
    store_ = std::move(*store);
    const auto key = node_key(*disk_, options_.folder, random);
    if (!key) return fail(key.error());
    auto server = NodeServer::start(*store_, *disk_, options_.folder, *key, options_.server, clock_);
    if (!server) return fail(server.error());
    server_ = std::move(*server);
    advertised_ = options_.advertise.value_or(server_->address());
    if (auto written = write_advertised(*disk_, options_.folder, advertised_); !written) return written;
    upkeep_.post([this] { keep_up(); });
    return {};
  }

  NodeServer& server() override { return *server_; }
  ObjectStore& store() override { return *store_; }
  const NetAddress& advertised() const override { return advertised_; }

  bool stop(Duration patience) override {
    stopped_ = true;
    const bool ended = !server_ || server_->stop(patience);
    upkeep_.close();
    return ended;
  }

 private:
  /// Once a second. What goes wrong is said once, not each time.
  void keep_up() {
    const auto kept = store_->maintain();
    const std::string why = kept ? std::string() : kept.error().what;
    if (why != failing_ && !why.empty()) spdlog::error("upkeep failed: error=\"{}\"", why);
    if (why != failing_ && why.empty()) spdlog::info("upkeep works again");
    failing_ = why;
    if (const auto rotten = store_->counters().rotten.load(); rotten != rotten_) {
      spdlog::warn("rot: objects={} since_start={}", rotten - rotten_, rotten);
      rotten_ = rotten;
    }
    if (!swept_ || clock_.now() - *swept_ >= sweep_every) {
      const auto swept = sweep_invites(*disk_, options_.folder, clock_.wall_now());
      if (swept && *swept > 0) spdlog::info("invites expired: count={}", *swept);
      if (!swept) spdlog::warn("expired invites cannot be removed: error=\"{}\"", swept.error().what);
      swept_ = clock_.now();
    }
    upkeep_.after(upkeep_every, [this] { keep_up(); });
  }

  const NodeServiceOptions options_;
  Clock& clock_;
  const std::shared_ptr<Disk> disk_ = std::make_shared<PosixDisk>();
  std::unique_ptr<FolderLock> lock_;
  std::unique_ptr<ObjectStore> store_;
  std::unique_ptr<NodeServer> server_;
  NetAddress advertised_;
  std::string failing_;
  std::uint64_t rotten_ = 0;
  std::optional<MonotonicTime> swept_;
  bool stopped_ = false;
  ThreadRuntime upkeep_;  // last: its tasks use the rest
};

}  // namespace

Result<std::unique_ptr<NodeService>> NodeService::start(const NodeServiceOptions& options, Clock& clock, Random& random) {
  auto service = std::make_unique<Service>(options, clock);
  if (auto opened = service->open(random); !opened) return fail(opened.error());
  return service;
}

}  // namespace atl
