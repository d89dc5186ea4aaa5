// A node's server against peers that are strangers, wrong, slow or hostile.
#include <sys/socket.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/asio/write.hpp>
#include <future>

#include <catch2/catch.hpp>

#include "engine/loop/asio_loop.h"
#include "engine/net/tls.h"
#include "engine/node/daemon_node.h"
#include "tests/support/eventually.h"
#include "tests/support/node_host.h"

using namespace atl;

namespace {

/// A client of a host, called as if its calls blocked.
class Client {
 public:
  Client(const NodeHost& host, const NodeCredentials& credentials) : Client(host.server->address(), host.server->id(), credentials) {}
  Client(const NetAddress& address, const NodeId& id, const NodeCredentials& credentials)
      : loop_(clock_), node_(std::make_unique<DaemonNode>(loop_, address, id, credentials)) {}
  Client(const NodeHost& host, const TlsIdentity& delegate)
      : loop_(clock_), node_(std::make_unique<DaemonNode>(loop_, host.server->address(), host.server->id(), delegate)) {}
  ~Client() {
    loop_.stop();
    CHECK(node_->close(std::chrono::seconds(60)));
    loop_.drain();
  }
  template <typename T>
  Result<T> run(asio::awaitable<Result<T>> call) {
    auto answer = std::make_shared<std::promise<Result<T>>>();
    asio::co_spawn(loop_.executor(), std::move(call), [answer](std::exception_ptr thrown, Result<T> result) {
      thrown ? answer->set_exception(thrown) : answer->set_value(std::move(result));
    });
    return answer->get_future().get();
  }
  Result<> put(std::string name, std::string_view text) {
    auto owner = std::make_shared<std::string>(text);
    std::vector<ByteView> pieces(1, as_bytes(*owner));
    return run(node_->put(name, ObjectBody(pieces, owner)));
  }
  Result<std::string> get(std::string name) {
    auto answer = run(node_->get(name, 0, 1 << 20));
    if (!answer) return fail(answer.error());
    return std::string(as_text(*answer));
  }
  DaemonNode& node() { return *node_; }

 private:
  SystemClock clock_;
  AsioLoop loop_;
  std::unique_ptr<DaemonNode> node_;
};

/// A plain TCP connection that says nothing of TLS.
class Socket {
 public:
  explicit Socket(const NetAddress& address) : file_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(address.port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(file_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
  }
  Socket(Socket&& other) noexcept : file_(std::exchange(other.file_, -1)), connected_(other.connected_) {}
  ~Socket() {
    if (file_ >= 0) ::close(file_);
  }
  bool connected() const { return connected_; }
  void send(std::string_view bytes) { static_cast<void>(!::send(file_, bytes.data(), bytes.size(), MSG_NOSIGNAL)); }
  /// Everything until the other side closes.
  std::string read_to_end() {
    std::string all;
    char part[4096];
    for (ssize_t n = 0; (n = ::recv(file_, part, sizeof part, 0)) > 0;) all.append(part, static_cast<std::size_t>(n));
    return all;
  }

 private:
  int file_;
  bool connected_ = false;
};

/// A connection of a device, spoken to byte by byte, and never closed by itself.
class RawClient {
 public:
  explicit RawClient(const NodeHost& host) : RawClient(host, TlsIdentity(host.credentials.device, host.credentials.account)) {}
  RawClient(const NodeHost& host, const TlsIdentity& identity)
      : raw_(client_context(identity, [](ssl_st*, const PeerCertificate&) { return true; })),
        context_((SSL_CTX_up_ref(raw_.get()), raw_.get())),
        stream_(io_, context_) {
    stream_.next_layer().connect({asio::ip::make_address("127.0.0.1"), host.server->address().port});
    stream_.handshake(asio::ssl::stream_base::client);
  }
  void send(std::string_view bytes) { asio::write(stream_, asio::buffer(bytes)); }
  void say_no_more() { stream_.next_layer().shutdown(asio::ip::tcp::socket::shutdown_send); }
  /// Until the first `end`. The answer so far.
  std::string read_until(const std::string& end) {
    std::string answer;
    asio::read_until(stream_, asio::dynamic_buffer(answer), end);
    return answer;
  }

 private:
  asio::io_context io_;
  std::shared_ptr<ssl_ctx_st> raw_;
  asio::ssl::context context_;
  asio::ssl::stream<asio::ip::tcp::socket> stream_;
};

}  // namespace

TEST_CASE("A node speaks only to keys that it knows", "[daemon]") {
  NodeHost host;
  Client owner(host, host.credentials);
  REQUIRE(owner.put("name", "content"));
  const NodeCredentials stranger{KeyPair::generate(host.random), KeyPair::generate(host.random)};
  // A device that names the account as its issuer, with a signature of its own making.
  Client other(host, stranger);
  CHECK(other.get("name").error().code == Code::unavailable);
  CHECK(other.run(other.node().remove({"name"})).error().code == Code::unavailable);
  CHECK(owner.get("name") == "content");
  CHECK(host.server->counters().handshakes_refused >= 2);
}

TEST_CASE("A drive does not speak to a node that shows another's key", "[daemon]") {
  NodeHost host;
  NodeHost swapped;
  const Result<> put = Client(swapped.server->address(), host.server->id(), host.credentials).put("name", "content");
  REQUIRE(!put);
  CHECK(put.error().code == Code::unavailable);
  CHECK(put.error().what.find("another node") != std::string::npos);
  CHECK(swapped.store.usage().used_bytes == 0);
}

TEST_CASE("An invite opens one account, once, and its repetition changes nothing", "[daemon]") {
  NodeHost host;
  const std::int64_t later = host.clock.wall_now().seconds + 3600;
  const Invite invite = make_invite(host.disk, NodeHost::folder, host.random, 1 << 20, later, "a friend").value();
  const Invite read = parse_invite(invite.text()).value();
  CHECK(read.node == host.server->id());
  const NodeCredentials friends{KeyPair::generate(host.random), KeyPair::generate(host.random)};
  const NodeCredentials thief{KeyPair::generate(host.random), KeyPair::generate(host.random)};
  Client first(host, friends);
  CHECK(first.put("name", "x").error().code == Code::unavailable);
  REQUIRE(first.run(first.node().redeem(KeyPair::from_seed(read.key))));
  REQUIRE(first.run(first.node().redeem(KeyPair::from_seed(read.key))));
  CHECK(first.put("name", "x"));
  CHECK(first.put("large", std::string((1 << 20) + 1, 'x')).error().code == Code::no_space);
  Client second(host, thief);
  CHECK(!second.run(second.node().redeem(KeyPair::from_seed(read.key))));
  CHECK(second.put("name", "x").error().code == Code::unavailable);
}

TEST_CASE("An invite whose time has passed opens nothing", "[daemon]") {
  NodeHost host;
  const Invite invite = make_invite(host.disk, NodeHost::folder, host.random, 1 << 20, host.clock.wall_now().seconds - 1, "").value();
  const NodeCredentials friends{KeyPair::generate(host.random), KeyPair::generate(host.random)};
  Client client(host, friends);
  CHECK(client.run(client.node().redeem(KeyPair::from_seed(invite.key))).error().code == Code::unavailable);
}

TEST_CASE("A revoked device is locked out, also on a connection that it still has; others of the account are not", "[daemon]") {
  NodeHost host;
  const NodeCredentials lost{host.credentials.account, KeyPair::generate(host.random)};
  Client kept(host, host.credentials);
  Client stolen(host, lost);
  REQUIRE(stolen.put("name", "content"));
  CHECK(kept.run(kept.node().devices()) == std::vector<KeyId>{lost.device.id(), host.credentials.device.id()});
  REQUIRE(kept.run(kept.node().revoke(lost.device.id())));
  CHECK(stolen.get("name").error().code == Code::unavailable);
  CHECK(stolen.get("name").error().code == Code::unavailable);
  CHECK(kept.run(kept.node().devices()) == std::vector<KeyId>{host.credentials.device.id()});
  CHECK(kept.run(kept.node().revoked()) == std::vector<KeyId>{lost.device.id()});
  CHECK(kept.get("name") == "content");
}

TEST_CASE("A delegate puts, reads and lists what its certificate names, and nothing else", "[daemon]") {
  NodeHost host;
  Client owner(host, host.credentials);
  for (const char* name : {"aa-shard", "bb-view", "cc-head"}) REQUIRE(owner.put(name, "of the owner"));
  const KeyPair key = KeyPair::generate(host.random);
  const TlsIdentity made(key, host.credentials.account, {{"aa-"}, {"bb-"}});
  // As it comes out of a file.
  const auto identity = TlsIdentity::with_certificate(key, made.certificate_pem());
  REQUIRE(identity);
  CHECK_FALSE(TlsIdentity::with_certificate(KeyPair::generate(host.random), made.certificate_pem()));
  Client delegate(host, *identity);
  REQUIRE(delegate.put("aa-new", "of the delegate"));
  CHECK(delegate.get("aa-shard") == "of the owner");
  CHECK(delegate.get("bb-view") == "of the owner");
  CHECK(delegate.run(delegate.node().list("aa-", "", 10))->size() == 2);
  CHECK(delegate.run(delegate.node().usage()).has_value());
  CHECK(delegate.put("bb-other", "text").error().code == Code::unavailable);
  CHECK(delegate.put("cc-other", "text").error().code == Code::unavailable);
  CHECK(delegate.get("cc-head").error().code == Code::unavailable);
  CHECK(delegate.run(delegate.node().stat("cc-head")).error().code == Code::unavailable);
  CHECK_FALSE(delegate.run(delegate.node().list("", "", 10)));
  CHECK_FALSE(delegate.run(delegate.node().list("cc-", "", 10)));
  CHECK_FALSE(delegate.run(delegate.node().devices()));
  // What is there cannot be changed either.
  CHECK(delegate.put("aa-shard", "something else").error().code == Code::conflict);
  CHECK(owner.get("aa-shard") == "of the owner");
  CHECK_FALSE(owner.get("cc-other"));

  // One that shows its certificate as if it were a device of the account's still may not remove.
  CHECK(delegate.run(delegate.node().remove({"aa-shard"})).error().code == Code::not_permitted);
  CHECK(owner.get("aa-shard") == "of the owner");

  // It is known, and locked out, like a device.
  CHECK(owner.run(owner.node().devices()).value() == std::vector<KeyId>{host.credentials.device.id(), key.id()});
  REQUIRE(owner.run(owner.node().revoke(key.id())));
  CHECK(delegate.get("aa-shard").error().code == Code::unavailable);
}

TEST_CASE("A delegate's certificate that is not understood whole gives no rights", "[daemon]") {
  NodeHost host;
  Client owner(host, host.credentials);
  REQUIRE(owner.put("aa-shard", "content"));
  // An empty beginning would fit every name.
  Client everything(host, TlsIdentity(KeyPair::generate(host.random), host.credentials.account, {{"aa-"}, {""}}));
  CHECK(everything.get("aa-shard").error().code == Code::unavailable);
  Client nothing(host, TlsIdentity(KeyPair::generate(host.random), host.credentials.account, DelegateRights{}));
  CHECK(nothing.get("aa-shard").error().code == Code::unavailable);
  CHECK(nothing.put("aa-other", "content").error().code == Code::unavailable);
}

TEST_CASE("A node refuses a delegate's removals, whatever it sends", "[daemon]") {
  NodeHost host;
  Client owner(host, host.credentials);
  REQUIRE(owner.put("aa-shard", "content"));
  RawClient raw(host, TlsIdentity(KeyPair::generate(host.random), host.credentials.account, {{"aa-"}, {}}));
  for (const char* request : {"DELETE /v1/objects/aa-shard HTTP/1.1\r\nHost: node\r\n\r\n",
                              "POST /v1/delete HTTP/1.1\r\nHost: node\r\nContent-Length: 9\r\n\r\naa-shard\n",
                              "POST /v1/restore HTTP/1.1\r\nHost: node\r\nContent-Length: 0\r\n\r\n"}) {
    raw.send(request);
    CHECK(raw.read_until("may not do that").starts_with("HTTP/1.1 403"));
  }
  CHECK(owner.get("aa-shard") == "content");
}

TEST_CASE("Accounts do not see each other's objects", "[daemon]") {
  NodeHost host;
  const NodeCredentials others{KeyPair::generate(host.random), KeyPair::generate(host.random)};
  Account account;
  account.id.bytes = others.account.id().bytes;
  account.quota_bytes = 1 << 20;
  account.blob = NodeHost::blob_of(others.account.public_key());
  NodeHost::must(host.store.put_account(account));
  Client one(host, host.credentials);
  Client two(host, others);
  REQUIRE(one.put("name", "one"));
  CHECK(two.get("name").error().code == Code::not_found);
  REQUIRE(two.put("name", "two"));
  CHECK(one.get("name") == "one");
  CHECK(two.run(two.node().remove({"name"})));
  CHECK(one.get("name") == "one");
}

TEST_CASE("A node that sends other bytes than it took in is found out", "[daemon]") {
  NodeHost host;
  Client client(host, host.credentials);
  REQUIRE(client.put("name", "content"));
  host.store.corrupt(host.account_id(), "name");
  // A range that ends inside is verified by its reader alone; the whole object by its hash.
  CHECK(client.run(client.node().get("name", 0, ~std::uint64_t{0})).error().code == Code::io);
}

TEST_CASE("Half-open connections displace each other and not the owner", "[daemon]") {
  ServerLimits limits;
  limits.connections.strangers = 32;
  limits.connections.strangers_per_address = 16;
  limits.handshake = std::chrono::hours(1);
  NodeHost host(limits);
  Client owner(host, host.credentials);
  REQUIRE(owner.put("before", "x"));
  std::vector<Socket> flood;
  for (int i = 0; i < 300; ++i) {
    flood.emplace_back(host.server->address());
    REQUIRE(flood.back().connected());
  }
  REQUIRE(eventually([&] { return host.server->counters().accepted >= 301; }));
  CHECK(host.server->counters().strangers <= 16);
  CHECK(host.server->counters().displaced >= 284);
  CHECK(owner.put("during", "x"));
  Client another(host, host.credentials);  // which has to shake hands among them
  CHECK(another.get("during") == "x");
}

TEST_CASE("Who is slow to prove a key is disconnected", "[daemon]") {
  ServerLimits limits;
  limits.handshake = std::chrono::milliseconds(50);
  NodeHost host(limits);
  Socket silent(host.server->address());
  CHECK(silent.read_to_end().empty());
  REQUIRE(host.server->stop(std::chrono::seconds(10)));  // the peer sees the end before the server has counted it
  CHECK(host.server->counters().timed_out >= 1);
}

TEST_CASE("Who speaks something else than TLS gets no HTTP", "[daemon]") {
  NodeHost host;
  Socket plain(host.server->address());
  plain.send("GET /v1/usage HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(plain.read_to_end().find("HTTP/1.1") == std::string::npos);
}

TEST_CASE("Metrics and health are served on the loopback, without keys and without names", "[daemon]") {
  NodeHost host;
  Client client(host, host.credentials);
  REQUIRE(client.put("some-name", "content"));
  Socket scrape(*host.server->metrics_address());
  scrape.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  const std::string text = scrape.read_to_end();
  CHECK(text.starts_with("HTTP/1.1 200"));
  CHECK(text.find("atoll_node_puts_total{node=\"" + host.server->id().hex().substr(0, 16) + "\"} 1") != std::string::npos);
  CHECK(text.find("some-name") == std::string::npos);
  Socket health(*host.server->metrics_address());
  health.send("GET /healthz HTTP/1.1\r\n\r\n");
  CHECK(health.read_to_end().ends_with("ok\n"));
}

TEST_CASE("A connection that died while idle is dialled again without anyone noticing", "[daemon]") {
  auto host = std::make_unique<NodeHost>();
  Client client(*host, host->credentials);
  REQUIRE(client.put("name", "content"));
  const NetAddress address = host->server->address();
  host->server->stop(std::chrono::seconds(10));
  CHECK(client.get("name").error().code == Code::unavailable);
  ServerOptions options;
  options.listen = address;
  const KeyPair key = node_key(host->disk, NodeHost::folder, host->random).value();
  auto again = NodeServer::start(host->store, host->disk, NodeHost::folder, key, options, host->clock);
  REQUIRE(again);
  CHECK(client.get("name") == "content");
  CHECK((*again)->stop(std::chrono::seconds(10)));
}

TEST_CASE("A server that stops waits for no connection that asks for nothing", "[daemon]") {
  NodeHost host;
  RawClient half_closed(host);  // a request that was answered, and the end of what the client says
  half_closed.send("GET /v1/usage HTTP/1.1\r\nHost: n\r\n\r\n");
  half_closed.read_until("}");
  half_closed.say_no_more();
  RawClient answered(host);  // for the last time, and does not close
  answered.send("GET /v1/usage HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n");
  answered.read_until("}");
  RawClient half_asked(host);
  half_asked.send("GET /v1/usage HTTP/1.1\r\nHo");
  RawClient idle(host);
  Socket stranger(host.server->address());
  REQUIRE(eventually([&] { return host.server->counters().accepted == 5; }));
  const auto began = std::chrono::steady_clock::now();
  CHECK(host.server->stop(std::chrono::seconds(60)));
  CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(8));  // a deadline of a connection is 10 s or more
}
