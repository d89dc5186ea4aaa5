#include "engine/daemon/server.h"

#include <openssl/ssl.h>
#include <pthread.h>
#include <spdlog/spdlog.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <future>
#include <thread>

#include "engine/base/signals_blocked.h"
#include "engine/daemon/server_core.h"
#include "engine/daemon/session.h"

namespace atl {

using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr std::size_t metrics_connections_max = 16;
constexpr auto metrics_patience = std::chrono::seconds(10);

/// Whose strangers count together: an IPv4 address, or an IPv6 network of 64 bits.
std::string origin_of(const tcp::endpoint& peer) {
  auto address = peer.address();
  if (!address.is_v6()) return address.to_string();
  if (address.to_v6().is_v4_mapped()) return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).to_string();
  auto bytes = address.to_v6().to_bytes();
  std::fill(bytes.begin() + 8, bytes.end(), std::uint8_t{0});
  return asio::ip::address_v6(bytes).to_string() + "/64";
}

Result<tcp::endpoint> endpoint_of(const NetAddress& address) {
  error_code error;
  const auto numeric = asio::ip::make_address(address.host, error);
  if (error)
    return fail(Code::invalid, "\"" + address.host + "\" is no IP address", "a node listens on an address such as 0.0.0.0 or [::]");
  return tcp::endpoint(numeric, address.port);
}

NetAddress address_of(const tcp::endpoint& endpoint) { return {endpoint.address().to_string(), endpoint.port()}; }

Result<> listen_on(tcp::acceptor& acceptor, const tcp::endpoint& endpoint) {
  error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(4096, error);
  if (!error) return {};
  const Code code = error == asio::error::address_in_use ? Code::busy : Code::invalid;
  return fail(code, "cannot listen on " + address_of(endpoint).text() + ": " + error.message(), "choose another address or port");
}

class Server final : public NodeServer {
 public:
  Server(ObjectStore& store, Disk& disk, const std::string& folder, const KeyPair& key, const ServerOptions& options, Clock& clock)
      : id_(node_id(key)),
        core_(std::make_unique<ServerCore>(store, disk, folder, id_, options, clock)),
        acceptor_(core_->io),
        metrics_acceptor_(core_->io) {
    context_ = server_context(TlsIdentity(key), [](ssl_st* connection, const PeerCertificate& peer) {
      auto* const session = static_cast<ServerSession*>(attachment(connection));
      return session != nullptr && session->welcome(peer);
    });
    SSL_CTX_up_ref(context_.get());  // Asio's context takes one
    core_->tls = std::make_unique<asio::ssl::context>(context_.get());
  }

  ~Server() override {
    if (!stopped_) stop(std::chrono::seconds(1));
    // A call that hangs in a disk would come back to freed memory: the rest stays, as long as the process does.
    if (hangs_) (void)core_.release();
  }

  Result<> open() {
    const ServerOptions& options = core_->options;
    const auto endpoint = endpoint_of(options.listen);
    if (!endpoint) return fail(endpoint.error());
    if (auto listening = listen_on(acceptor_, *endpoint); !listening) return listening;
    if (options.metrics) {
      const auto metrics = endpoint_of(*options.metrics);
      if (!metrics) return fail(metrics.error());
      if (!metrics->address().is_loopback())
        return fail(Code::invalid, options.metrics->text() + " is not this machine alone", "metrics are served on 127.0.0.1 or [::1]");
      if (auto listening = listen_on(metrics_acceptor_, *metrics); !listening) return listening;
    }
    address_ = address_of(acceptor_.local_endpoint());
    if (options.metrics) metrics_address_ = address_of(metrics_acceptor_.local_endpoint());
    asio::co_spawn(core_->io, accept(), asio::detached);
    if (options.metrics) asio::co_spawn(core_->io, accept_metrics(), asio::detached);
    const SignalsBlocked blocked;
    thread_ = std::thread([this] { core_->io.run(); });
    ::pthread_setname_np(thread_.native_handle(), "atoll-server");
    return {};
  }

  NetAddress address() const override { return address_; }
  std::optional<NetAddress> metrics_address() const override { return metrics_address_; }
  NodeId id() const override { return id_; }
  const ServerCounters& counters() const override { return core_->counters; }

  bool stop(Duration patience) override {
    stopped_ = true;
    if (!thread_.joinable()) return true;
    auto empty = std::make_shared<std::promise<void>>();
    auto emptied = empty->get_future();
    asio::post(core_->io, [this, empty] {
      error_code ignored;
      acceptor_.close(ignored);
      metrics_acceptor_.close(ignored);
      core_->stopping = true;
      core_->emptied = [empty] { empty->set_value(); };
      if (core_->running.empty()) std::exchange(core_->emptied, nullptr)();
      for (Ending* each : core_->running) each->finish();
    });
    bool ended = emptied.wait_for(patience) == std::future_status::ready;
    if (!ended) {
      asio::post(core_->io, [this] {
        for (Ending* each : core_->running) each->cut();
      });
      ended = emptied.wait_for(cut_patience) == std::future_status::ready;
    }
    core_->io.stop();
    thread_.join();
    hangs_ = !core_->pool.close(ended ? cut_patience : Duration::zero()) || !ended;
    return !hangs_;
  }

 private:
  static constexpr auto cut_patience = std::chrono::seconds(5);

  static NodeId node_id(const KeyPair& key) {
    NodeId id;
    id.bytes = key.id().bytes;
    return id;
  }

  asio::awaitable<void> accept() {
    while (acceptor_.is_open()) {
      error_code error;
      tcp::socket socket = co_await acceptor_.async_accept(asio::redirect_error(asio::use_awaitable, error));
      if (error && acceptor_.is_open()) {
        // Out of descriptors, say: what is open has to end first.
        asio::steady_timer pause(core_->io, std::chrono::milliseconds(50));
        error_code ignored;
        co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
      }
      if (error) continue;
      ++core_->counters.accepted;
      const tcp::endpoint peer = socket.remote_endpoint(error);
      if (error) continue;
      socket.set_option(tcp::no_delay(true), error);
      auto session = std::make_shared<ServerSession>(*core_, std::move(socket), origin_of(peer));
      asio::co_spawn(core_->io, session->serve(), asio::detached);
    }
  }

  asio::awaitable<void> accept_metrics() {
    while (metrics_acceptor_.is_open()) {
      error_code error;
      tcp::socket socket = co_await metrics_acceptor_.async_accept(asio::redirect_error(asio::use_awaitable, error));
      if (error || metrics_connections_ >= metrics_connections_max) {
        asio::steady_timer pause(core_->io, std::chrono::milliseconds(50));
        error_code ignored;
        if (metrics_acceptor_.is_open()) co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
        continue;
      }
      asio::co_spawn(core_->io, answer_metrics(std::move(socket)), asio::detached);
    }
  }

  asio::awaitable<void> answer_metrics(tcp::socket socket);

  const NodeId id_;
  std::unique_ptr<ServerCore> core_;
  std::shared_ptr<ssl_ctx_st> context_;  // owns the check that Asio's context calls
  tcp::acceptor acceptor_;
  tcp::acceptor metrics_acceptor_;
  std::size_t metrics_connections_ = 0;
  std::thread thread_;
  NetAddress address_;
  std::optional<NetAddress> metrics_address_;
  bool stopped_ = false;
  bool hangs_ = false;
};

/// A scrape in progress: counted, and cut when the server stops.
struct Scrape final : Ending {
  ServerCore& core;
  std::size_t& count;
  boost::beast::tcp_stream stream;

  Scrape(ServerCore& core_, std::size_t& count_, tcp::socket socket) : core(core_), count(count_), stream(std::move(socket)) {
    ++count;
    core.running.insert(this);
  }
  ~Scrape() override {
    --count;
    core.left(*this);
  }
  void finish() override { cut(); }
  void cut() override { stream.close(); }
};

asio::awaitable<void> Server::answer_metrics(tcp::socket socket) {
  Scrape scrape(*core_, metrics_connections_, std::move(socket));
  try {
    scrape.stream.expires_after(metrics_patience);
    std::string request(4096, '\0');
    std::size_t size = 0;
    while (request.find("\r\n\r\n") == std::string::npos && size < request.size()) {
      const auto space = asio::buffer(request.data() + size, request.size() - size);
      size += co_await scrape.stream.async_read_some(space, asio::use_awaitable);
    }
    HttpReply reply(404, "there are /metrics and /healthz\n");
    if (request.starts_with("GET /healthz ")) {
      const std::string trouble = core_->store.trouble();
      reply = trouble.empty() ? HttpReply(200, "ok\n") : HttpReply(503, trouble + "\n");
    } else if (request.starts_with("GET /metrics ")) {
      auto work = [core = core_.get()] { return core->metrics.text(core->store, core->counters, core->node.hex()); };
      const KeyId nobody;
      reply = HttpReply(200, co_await core_->on_disk(nobody, std::move(work)));
    }
    reply.field("Content-Type", "text/plain; version=0.0.4");
    const std::string text = response_head(reply, reply.body.size(), true) + reply.body;
    co_await asio::async_write(scrape.stream, asio::buffer(text), asio::use_awaitable);
    error_code ignored;
    scrape.stream.socket().shutdown(tcp::socket::shutdown_both, ignored);
  } catch (const std::exception&) {
    // Whoever scrapes sees that it failed, and asks again.
  }
}

}  // namespace

void RefusalLog::add(MonotonicTime now, const std::string& address, const std::string& why) {
  constexpr int lines_max = 10;
  constexpr Duration period = std::chrono::seconds(10);
  if (now - since_ >= period) {
    if (kept_back_ > 0) spdlog::warn("refused {} more connections", kept_back_);
    since_ = now;
    lines_ = 0;
    kept_back_ = 0;
  }
  if (++lines_ > lines_max) {
    ++kept_back_;
  } else {
    spdlog::warn("refused a connection: address={} reason=\"{}\"", address, why);
  }
}

Result<std::unique_ptr<NodeServer>> NodeServer::start(ObjectStore& store, Disk& disk, const std::string& folder,
                                                      const KeyPair& key, const ServerOptions& options, Clock& clock) {
  auto server = std::make_unique<Server>(store, disk, folder, key, options, clock);
  if (auto opened = server->open(); !opened) return fail(opened.error());
  return server;
}

}  // namespace atl
