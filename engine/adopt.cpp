// Making a folder, or an account with a node daemon, a node of a drive.
#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <future>
#include <memory>

#include "engine/base/posix_disk.h"
#include "engine/daemons.h"
#include "engine/loop/asio_loop.h"
#include "engine/node/daemon_node.h"
#include "engine/node/dir_node.h"

namespace atl {

namespace {

constexpr Duration close_patience = std::chrono::seconds(3);

/// A daemon, called as if its calls blocked.
class Caller {
 public:
  Caller(Clock& clock, const NetAddress& address, const NodeId& id, const NodeCredentials& credentials)
      : loop_(std::make_unique<AsioLoop>(clock)), node_(std::make_unique<DaemonNode>(*loop_, address, id, credentials)) {}

  ~Caller() {
    loop_->stop();
    const bool closed = node_->close(close_patience);
    loop_->drain();
    if (closed) return;
    // Looking a name up hangs, and would come back to freed memory: both stay, as long as the process does.
    (void)node_.release();
    (void)loop_.release();
  }

  DaemonNode& node() { return *node_; }

  template <typename T>
  Result<T> wait_for(asio::awaitable<Result<T>> call) {
    auto answer = std::make_shared<std::promise<Result<T>>>();
    asio::co_spawn(loop_->executor(), std::move(call), [answer](std::exception_ptr thrown, Result<T> result) {
      thrown ? answer->set_exception(thrown) : answer->set_value(std::move(result));
    });
    return answer->get_future().get();
  }

 private:
  std::unique_ptr<AsioLoop> loop_;
  std::unique_ptr<DaemonNode> node_;
};

bool printable(const std::string& text) {
  return !text.empty() && std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

}  // namespace

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

bool names_daemon(const std::string& text) { return is_invite(text) || is_node_url(text); }

bool names_invite(const std::string& text) { return is_invite(text); }

Result<NodeSpec> adopt_daemon(const std::string& text, const NodeCredentials& credentials, Clock& clock) {
  NodeSpec spec;
  NetAddress address;
  std::optional<KeyPair> invited;
  if (is_invite(text)) {
    auto invite = parse_invite(text);
    if (!invite) return fail(invite.error());
    spec.id = invite->node;
    address = invite->address;
    invited = KeyPair::from_seed(invite->key);
    wipe(invite->key);
  } else {
    auto url = parse_node_url(text);
    if (!url) return fail(url.error());
    if (!url->id)
      return fail(Code::invalid, "\"" + text + "\" does not say which node is there",
                  "write it like atoll://HOST:PORT/ID, or use an invite: atoll node invite, on the node");
    spec.id = *url->id;
    address = url->address;
  }
  spec.url = node_url(address);
  Caller caller(clock, address, spec.id, credentials);
  if (invited) {
    auto redeemed = caller.wait_for(caller.node().redeem(*invited));
    if (!redeemed) {
      Error error = redeemed.error();
      if (error.hint.empty()) error.hint = "if the node is up, the invite has expired or another drive has used it: ask for a new one";
      return fail(std::move(error));
    }
  }
  auto labels = caller.wait_for(caller.node().labels());
  if (!labels) {
    Error error = labels.error();
    if (error.hint.empty() && !invited) error.hint = "a node that this drive has no account with needs an invite: atoll node invite, on the node";
    return fail(std::move(error));
  }
  for (auto& [key, value] : *labels)
    if (printable(key) && printable(value)) spec.labels.emplace(key, value);
  return spec;
}

Result<NodeDevices> node_devices(const NodeSpec& node, const NodeCredentials& credentials, Clock& clock) {
  auto url = parse_node_url(node.url);
  if (!url) return fail(url.error());
  Caller caller(clock, url->address, node.id, credentials);
  auto seen = caller.wait_for(caller.node().devices());
  if (!seen) return fail(seen.error());
  auto revoked = caller.wait_for(caller.node().revoked());
  if (!revoked) return fail(revoked.error());
  return NodeDevices{std::move(*seen), std::move(*revoked)};
}

Result<> revoke_device(const NodeSpec& node, const KeyId& device, const NodeCredentials& credentials, Clock& clock) {
  auto url = parse_node_url(node.url);
  if (!url) return fail(url.error());
  Caller caller(clock, url->address, node.id, credentials);
  return caller.wait_for(caller.node().revoke(device));
}

}  // namespace atl
