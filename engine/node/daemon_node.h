// A node that is a daemon somewhere: `atoll://HOST:PORT`, spoken to as PROTOCOL.md says.
//
// Connections are kept and used again, one request at a time each; a request whose used connection turns out dead is
// sent once more on a fresh one, which every request of this protocol allows. What was idle for long, suspend included,
// is dialled again. Deletions go out under the account's key, all else under the device's. Errors and threads as Node;
// a node that shows another key, or does not know ours, is unavailable.
#pragma once

#include <memory>
#include <optional>

#include "engine/base/blocking_pool.h"
#include "engine/loop/loop.h"
#include "engine/net/address.h"
#include "engine/net/credentials.h"
#include "engine/node/node.h"

namespace atl {

class HttpConnection;
class TlsIdentity;
struct HttpRequest;
struct HttpResponse;
struct ClientContext;

class DaemonNode final : public Node {
 public:
  static constexpr Duration idle_max = std::chrono::seconds(60);
  static constexpr std::size_t idle_connections_max = 8;

  /// `loop` outlives it. `id` is whose key the daemon must show.
  DaemonNode(Loop& loop, NetAddress address, const NodeId& id, const NodeCredentials& credentials);
  /// Speaks as a delegate, with the certificate that this has. Whatever takes the account's own key is not_permitted.
  DaemonNode(Loop& loop, NetAddress address, const NodeId& id, const TlsIdentity& delegate);
  /// Before the loop's executor goes.
  ~DaemonNode() override;

  asio::awaitable<Result<>> put(std::string name, ObjectBody body) override;
  asio::awaitable<Result<Bytes>> get(std::string name, std::uint64_t offset, std::uint64_t length) override;
  asio::awaitable<Result<ObjectStat>> stat(std::string name) override;
  asio::awaitable<Result<std::vector<std::string>>> list(std::string prefix, std::string after,
                                                         std::size_t limit) override;
  asio::awaitable<Result<std::size_t>> remove(std::vector<std::string> names) override;
  asio::awaitable<Result<NodeUsage>> usage() override;
  bool close(Duration patience) override;

  /// What the daemon says of itself beside.
  asio::awaitable<Result<Labels>> labels();
  /// Opens the account with an invite for this node.
  asio::awaitable<Result<>> redeem(KeyPair invite);
  /// No certificate of that device opens anything at this node any more.
  asio::awaitable<Result<>> revoke(KeyId device);
  /// The account's devices that the node has seen, or that are revoked there.
  asio::awaitable<Result<std::vector<KeyId>>> devices();
  asio::awaitable<Result<std::vector<KeyId>>> revoked();

 private:
  struct Pool;

  asio::awaitable<Result<std::vector<KeyId>>> ids_at(std::string target);
  asio::awaitable<Result<HttpResponse>> ask(Pool& pool, HttpRequest request);
  asio::awaitable<std::unique_ptr<HttpConnection>> dial(Pool& pool);
  std::unique_ptr<HttpConnection> reuse(Pool& pool);
  tl::unexpected<Error> refused(const HttpResponse& response) const;

  Loop& loop_;
  const NetAddress address_;
  const NodeId id_;
  const std::optional<NodeCredentials> credentials_;  // nothing: a delegate
  const std::string url_;
  BlockingPool resolver_;  // looking names up blocks, and may hang with the network
  std::unique_ptr<Pool> device_;
  std::unique_ptr<Pool> owner_;  // null for a delegate
};

}  // namespace atl
