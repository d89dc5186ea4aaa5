// The engine on real threads: one loop, `dir:` nodes on the computer's own disks.
#include "engine/engine.h"

#include <future>

#include "engine/base/posix_disk.h"
#include "engine/engine_core.h"
#include "engine/loop/asio_loop.h"
#include "engine/node/dir_node.h"

namespace atl {

namespace {

constexpr Duration first_probe_patience = std::chrono::seconds(2);

/// Everything that a call which hangs in a disk may still touch when it comes back.
struct Machine {
  AsioLoop loop;
  std::vector<std::shared_ptr<Node>> nodes;
  std::unique_ptr<EngineCore> core;

  explicit Machine(Clock& clock) : loop(clock) {}
};

class ThreadEngine final : public Engine {
 public:
  ThreadEngine(std::unique_ptr<Machine> machine, Duration patience)
      : machine_(std::move(machine)), core_(*machine_->core), patience_(patience) {}

  ~ThreadEngine() override {
    close();
    // A disk that hangs holds calls which would end in freed memory. Its nodes stay, as long as the process does.
    if (hangs_) (void)machine_.release();
  }

  void close() override {
    const std::lock_guard lock(close_mutex_);
    if (closed_) return;
    closed_ = true;
    core_.close();
    machine_->loop.stop();
    for (const auto& node : machine_->nodes) {
      if (!node->close(patience_)) hangs_ = true;
    }
    machine_->loop.drain();  // coroutines whose calls were dropped unwind here
  }

  std::shared_ptr<Transfer> upload(UploadRequest request) override { return core_.upload(std::move(request)); }
  std::shared_ptr<Transfer> fetch(FetchRequest request) override { return core_.fetch(std::move(request)); }
  void put(NodeId node, std::string name, std::shared_ptr<const Bytes> body,
           std::function<void(Result<>)> done) override {
    core_.put(node, std::move(name), std::move(body), std::move(done));
  }
  void remove(NodeId node, std::vector<std::string> names, std::function<void(Result<std::size_t>)> done) override {
    core_.remove(node, std::move(names), std::move(done));
  }
  void list(NodeId node, std::string prefix, std::string after, std::size_t limit,
            std::function<void(Result<std::vector<std::string>>)> done) override {
    core_.list(node, std::move(prefix), std::move(after), limit, std::move(done));
  }
  void stat(NodeId node, std::string name, std::function<void(Result<ObjectStat>)> done) override {
    core_.stat(node, std::move(name), std::move(done));
  }
  std::vector<NodeStatus> nodes() const override { return core_.nodes(); }
  EngineCounters counters() const override { return core_.counters(); }
  void on_node_change(std::function<void()> callback) override { core_.on_node_change(std::move(callback)); }

 private:
  std::unique_ptr<Machine> machine_;
  EngineCore& core_;
  const Duration patience_;
  std::mutex close_mutex_;
  bool closed_ = false;
  bool hangs_ = false;
};

}  // namespace

Result<std::unique_ptr<Engine>> make_engine(std::vector<NodeSpec> nodes, EngineOptions options, Clock& clock,
                                            Random& random) {
  auto disk = std::make_shared<PosixDisk>();
  auto machine = std::make_unique<Machine>(clock);
  const std::uint64_t instance = random.u64();
  for (const NodeSpec& spec : nodes) {
    auto folder = folder_of_url(spec.url);
    if (!folder) return fail(folder.error());
    auto store = std::make_shared<DirStore>(disk, *folder, spec.id, instance);
    machine->nodes.push_back(std::make_shared<DirNode>(machine->loop, std::move(store), options.threads));
  }
  machine->core = std::make_unique<EngineCore>(machine->loop, random, options, std::move(nodes), machine->nodes);

  std::promise<void> probed;
  machine->core->when_probed(first_probe_patience, [&probed] { probed.set_value(); });
  probed.get_future().wait();
  return std::make_unique<ThreadEngine>(std::move(machine), options.close_patience);
}

Result<NodeSpec> adopt_node(const std::string& url, Random& random) {
  auto folder = folder_of_url(url);
  if (!folder) return fail(folder.error());
  PosixDisk disk;
  auto id = adopt_folder(disk, *folder, random);
  if (!id) return fail(id.error());
  NodeSpec spec;
  spec.id = *id;
  spec.url = "dir:" + *folder;
  return spec;
}

}  // namespace atl
