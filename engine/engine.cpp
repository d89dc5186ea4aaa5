// The engine on real threads: one loop, `dir:` nodes on the computer's own disks, `atoll:` nodes over the network.
#include "engine/engine.h"

#include <future>

#include "engine/base/posix_disk.h"
#include "engine/daemons.h"
#include "engine/engine_core.h"
#include "engine/loop/asio_loop.h"
#include "engine/net/tls.h"
#include "engine/node/daemon_node.h"
#include "engine/node/dir_node.h"
#include "engine/node_checks.h"

namespace atl {

namespace {

constexpr Duration first_probe_patience = std::chrono::seconds(2);

/// As whom daemons are spoken to; one of the two at most.
struct Speaker {
  std::shared_ptr<const NodeCredentials> owner;
  std::shared_ptr<const DelegateCredentials> delegate;
};

/// Everything that a call which hangs in a disk may still touch when it comes back.
struct Machine {
  AsioLoop loop;
  const std::shared_ptr<Disk> disk = std::make_shared<PosixDisk>();
  const std::uint64_t instance;
  const std::size_t threads;
  const Speaker speaker;
  std::vector<std::shared_ptr<Node>> nodes;  // all there ever were: what left the drive may still be busy
  std::unique_ptr<EngineCore> core;

  Machine(Clock& clock, Random& random, std::size_t threads_, Speaker speaker_)
      : loop(clock), instance(random.u64()), threads(threads_), speaker(std::move(speaker_)) {}

  /// Code::invalid for a URL that names no node; key for a daemon where there is nothing to show it.
  Result<std::shared_ptr<Node>> make_node(const NodeSpec& spec) {
    if (is_node_url(spec.url)) {
      auto url = parse_node_url(spec.url);
      if (!url) return fail(url.error());
      if (speaker.delegate) {
        const auto certificate = speaker.delegate->certificates.find(spec.id);
        if (certificate == speaker.delegate->certificates.end()) return fail(Code::key, "this delegate has no certificate for " + spec.url);
        auto identity = TlsIdentity::with_certificate(speaker.delegate->key, certificate->second);
        if (!identity) return fail(identity.error());
        nodes.push_back(std::make_shared<DaemonNode>(loop, url->address, spec.id, *identity));
        return nodes.back();
      }
      if (!speaker.owner) return fail(Code::key, spec.url + " wants to see this drive's account key, which is not at hand");
      nodes.push_back(std::make_shared<DaemonNode>(loop, url->address, spec.id, *speaker.owner));
      return nodes.back();
    }
    auto folder = folder_of_url(spec.url);
    if (!folder) return fail(folder.error());
    auto store = std::make_shared<DirStore>(disk, *folder, spec.id, instance);
    nodes.push_back(std::make_shared<DirNode>(loop, std::move(store), threads));
    return nodes.back();
  }
};

class ThreadEngine final : public Engine, public FlowControl, public StatisticsKeeper, public NodeChecks {
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
  Result<> set_nodes(std::vector<NodeSpec> nodes) override {
    const std::lock_guard lock(close_mutex_);
    return core_.set_nodes(std::move(nodes));
  }
  std::vector<NodeStatus> nodes() const override { return core_.nodes(); }
  EngineCounters counters() const override { return core_.counters(); }
  void set_flow(const Flow& flow) override { core_.set_flow(flow); }
  Flow flow() const override { return core_.flow(); }
  std::map<NodeId, NodeStatistics> statistics() const override { return core_.statistics(); }
  void check_nodes(Duration patience) override {
    const auto asked = std::make_shared<std::promise<void>>();
    core_.check_nodes([asked] { asked->set_value(); });
    (void)asked->get_future().wait_for(patience);  // a node that says nothing is absent when its time is over
  }
  void on_node_change(std::function<void()> callback) override { core_.on_node_change(std::move(callback)); }

 private:
  std::unique_ptr<Machine> machine_;
  EngineCore& core_;
  const Duration patience_;
  std::mutex close_mutex_;
  bool closed_ = false;
  bool hangs_ = false;
};

Result<std::unique_ptr<Engine>> start(std::vector<NodeSpec> nodes, Speaker speaker, EngineOptions options, Clock& clock, Random& random) {
  auto machine = std::make_unique<Machine>(clock, random, options.threads, std::move(speaker));
  for (const NodeSpec& spec : nodes) {
    if (auto made = machine->make_node(spec); !made) return fail(made.error());
  }
  auto maker = [&machine = *machine](const NodeSpec& spec) { return machine.make_node(spec); };
  machine->core = std::make_unique<EngineCore>(machine->loop, random, options, std::move(nodes), machine->nodes, std::move(maker));

  std::promise<void> probed;
  machine->core->when_probed(first_probe_patience, [&probed] { probed.set_value(); });
  probed.get_future().wait();
  return std::make_unique<ThreadEngine>(std::move(machine), options.close_patience);
}

}  // namespace

Result<std::unique_ptr<Engine>> make_engine(std::vector<NodeSpec> nodes, EngineOptions options, Clock& clock,
                                            Random& random) {
  return start(std::move(nodes), {}, options, clock, random);
}

Result<std::unique_ptr<Engine>> make_engine(std::vector<NodeSpec> nodes, std::shared_ptr<const NodeCredentials> credentials,
                                            EngineOptions options, Clock& clock, Random& random) {
  return start(std::move(nodes), {std::move(credentials), nullptr}, options, clock, random);
}

Result<std::unique_ptr<Engine>> make_engine(std::vector<NodeSpec> nodes, std::shared_ptr<const DelegateCredentials> credentials,
                                            EngineOptions options, Clock& clock, Random& random) {
  return start(std::move(nodes), {nullptr, std::move(credentials)}, options, clock, random);
}

}  // namespace atl
