#include "engine/node/daemon_node.h"

#include <netdb.h>
#include <openssl/ssl.h>
#include <sodium.h>

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <nlohmann/json.hpp>

#include "engine/base/mutant.h"
#include "engine/net/http_connection.h"
#include "engine/net/tls.h"
#include "engine/node/run_blocking.h"

namespace atl {

namespace {

using asio::ip::tcp;
using Endpoints = std::vector<tcp::endpoint>;

constexpr std::size_t resolver_threads = 1;
constexpr int busy_tries_max = 3;
constexpr std::size_t names_per_page = 1000;
constexpr std::size_t list_response_max = names_per_page * 129 + 1024;

Result<Endpoints> resolve(const NetAddress& address) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (error != 0) return fail(Code::unavailable, "the name " + address.host + " could not be looked up: " + ::gai_strerror(error));
  Endpoints endpoints;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    tcp::endpoint endpoint;
    if (each->ai_addrlen > endpoint.capacity()) continue;
    std::memcpy(endpoint.data(), each->ai_addr, each->ai_addrlen);
    endpoint.resize(each->ai_addrlen);
    endpoints.push_back(endpoint);
  }
  ::freeaddrinfo(found);
  return endpoints;
}

std::string body_hash(const ObjectBody& body) {
  crypto_generichash_state state;
  std::array<std::uint8_t, 32> hash;
  crypto_generichash_init(&state, nullptr, 0, hash.size());
  for (const ByteView piece : body.pieces) crypto_generichash_update(&state, piece.data(), piece.size());
  crypto_generichash_final(&state, hash.data(), hash.size());
  return to_hex(hash);
}

ObjectBody body_of(std::string text) {
  auto owner = std::make_shared<std::string>(std::move(text));
  std::vector<ByteView> pieces;
  pieces.push_back(as_bytes(*owner));
  return ObjectBody(std::move(pieces), owner);
}

tl::unexpected<Error> owners_only() { return fail(Code::not_permitted, "a delegate has no key that may do this"); }

tl::unexpected<Error> bad_name() { return fail(Code::invalid, "this is no name of an object"); }

}  // namespace

/// Connections that show one certificate, idle ones first.
struct DaemonNode::Pool {
  std::shared_ptr<ssl_ctx_st> context;
  asio::ssl::context wrapped;
  std::vector<std::unique_ptr<HttpConnection>> idle;  // the longest idle first
  bool wrong_key = false;                             // the last handshake met another key than the node's

  Pool(const TlsIdentity& identity, const NodeId& id)
      : context(client_context(identity,
                               [this, id](ssl_st*, const PeerCertificate& peer) {
                                 wrong_key = key_id(peer.key).bytes != id.bytes && !mutant("node-key-unpinned");
                                 return !wrong_key;
                               })),
        wrapped((SSL_CTX_up_ref(context.get()), context.get())) {}
};

DaemonNode::DaemonNode(Loop& loop, NetAddress address, const NodeId& id, const NodeCredentials& credentials)
    : loop_(loop), address_(std::move(address)), id_(id), credentials_(credentials), url_(node_url(address_)), resolver_(resolver_threads) {
  device_ = std::make_unique<Pool>(TlsIdentity(credentials.device, credentials.account), id_);
  owner_ = std::make_unique<Pool>(TlsIdentity(credentials.account), id_);
}

DaemonNode::DaemonNode(Loop& loop, NetAddress address, const NodeId& id, const TlsIdentity& delegate)
    : loop_(loop), address_(std::move(address)), id_(id), url_(node_url(address_)), resolver_(resolver_threads) {
  device_ = std::make_unique<Pool>(delegate, id_);
}

DaemonNode::~DaemonNode() = default;

bool DaemonNode::close(Duration patience) { return resolver_.close(patience); }

std::unique_ptr<HttpConnection> DaemonNode::reuse(Pool& pool) {
  while (!pool.idle.empty()) {
    auto connection = std::move(pool.idle.back());
    pool.idle.pop_back();
    if (loop_.now() - connection->idle_since < idle_max) return connection;
  }
  return nullptr;
}

asio::awaitable<std::unique_ptr<HttpConnection>> DaemonNode::dial(Pool& pool) {
  Endpoints endpoints;
  boost::system::error_code error;
  const auto numeric = asio::ip::make_address(address_.host, error);
  if (!error) {
    endpoints.emplace_back(numeric, address_.port);
  } else {
    auto work = [address = address_] { return resolve(address); };
    auto found = co_await run_blocking(resolver_, std::move(work));
    if (!found) throw boost::system::system_error(asio::error::host_not_found);
    endpoints = std::move(*found);
  }
  auto connection = std::make_unique<HttpConnection>(co_await asio::this_coro::executor, pool.wrapped);
  co_await connection->dial(std::move(endpoints), address_.text());
  co_return connection;
}

asio::awaitable<Result<HttpResponse>> DaemonNode::ask(Pool& pool, HttpRequest request) {
  for (int tries = 1;; ++tries) {
    std::string why;
    HttpResponse response;
    bool answered = false;
    for (auto used = reuse(pool);; used = nullptr) {
      const bool fresh = used == nullptr;
      bool cancelled = false;
      try {
        pool.wrong_key = false;
        if (fresh) used = co_await dial(pool);
        response = co_await used->exchange(request);
        answered = true;
      } catch (const boost::system::system_error& failure) {
        cancelled = failure.code() == asio::error::operation_aborted;
        why = failure.code().message();
      }
      if (cancelled) throw boost::system::system_error(asio::error::operation_aborted);
      if (answered && used->reusable() && pool.idle.size() < idle_connections_max) {
        used->idle_since = loop_.now();
        pool.idle.push_back(std::move(used));
      }
      if (answered || fresh) break;
      pool.idle.clear();  // of the same age or older: most likely as dead
    }
    if (!answered && pool.wrong_key)
      co_return fail(Code::unavailable, "at " + address_.text() + " there is another node than " + id_.hex().substr(0, 16),
                     "ask its owner for the address; whoever answers there proves another key");
    if (!answered) co_return fail(Code::unavailable, url_ + " cannot be reached, or does not know this drive: " + why);
    if (response.status != 503 || tries >= busy_tries_max) co_return response;
    // Busy, or about to stop: once or twice it is worth a moment.
    co_await pause_for(loop_, std::chrono::seconds(tries));
  }
}

tl::unexpected<Error> DaemonNode::refused(const HttpResponse& response) const {
  std::string said(as_text(response.body).substr(0, 200));
  while (!said.empty() && said.back() == '\n') said.pop_back();
  for (char& c : said)
    if (c < ' ' || c > '~') c = '?';
  const std::string what = url_ + " answered " + std::to_string(response.status) + (said.empty() ? "" : ": " + said);
  switch (response.status) {
    case 400: return fail(Code::invalid, what);
    case 403: return fail(Code::unavailable, what, "the account or this device was closed there; ask the node's owner");
    case 404: return fail(Code::not_found, what);
    case 409: return fail(Code::conflict, what);
    case 413: return fail(Code::too_large, what);
    case 507: return fail(Code::no_space, what);
    case 503: return fail(Code::busy, what);
    default: return fail(Code::io, what);
  }
}

asio::awaitable<Result<>> DaemonNode::put(std::string name, ObjectBody body) {
  if (!is_object_name(name)) co_return bad_name();
  HttpRequest request;
  request.method = "PUT";
  request.target = "/v1/objects/" + name;
  request.fields.emplace_back("Atoll-Hash", body_hash(body));
  request.body = std::move(body);
  const auto response = co_await ask(*device_, std::move(request));
  if (!response) co_return fail(response.error());
  if (response->status == 200 || response->status == 201) co_return Result<>();
  co_return refused(*response);
}

asio::awaitable<Result<Bytes>> DaemonNode::get(std::string name, std::uint64_t offset, std::uint64_t length) {
  if (!is_object_name(name)) co_return bad_name();
  HttpRequest request;
  request.method = "GET";
  request.target = "/v1/objects/" + name;
  constexpr std::uint64_t object_bytes_max = std::uint64_t{1} << 30;
  const std::uint64_t wanted = std::max<std::uint64_t>(length, 1);  // an empty range cannot be asked for
  const bool to_the_end = wanted >= object_bytes_max || offset >= object_bytes_max;
  const std::uint64_t last = to_the_end ? ~std::uint64_t{0} : offset + wanted - 1;
  const bool ranged = offset != 0 || last != ~std::uint64_t{0};
  if (ranged) {
    request.fields.emplace_back("Range", "bytes=" + std::to_string(offset) + "-" +
                                             (last == ~std::uint64_t{0} ? std::string() : std::to_string(last)));
  }
  request.response_max = std::max<std::uint64_t>(std::min(length, object_bytes_max), 4096);
  auto response = co_await ask(*device_, std::move(request));
  if (!response) co_return fail(response.error());
  if (response->status == 416) co_return Bytes();
  if (response->status != 200 && response->status != 206) co_return refused(*response);
  if (response->status == 200) {
    ObjectBody whole({ByteView(response->body)}, nullptr);
    if (body_hash(whole) != response->field("atoll-hash")) co_return fail(Code::io, url_ + " sent other bytes than it holds by its own word");
    const std::size_t from = static_cast<std::size_t>(std::min<std::uint64_t>(offset, response->body.size()));
    response->body.erase(response->body.begin(), response->body.begin() + static_cast<std::ptrdiff_t>(from));
  }
  if (response->body.size() > length) response->body.resize(static_cast<std::size_t>(length));
  co_return std::move(response->body);
}

asio::awaitable<Result<ObjectStat>> DaemonNode::stat(std::string name) {
  if (!is_object_name(name)) co_return bad_name();
  HttpRequest request;
  request.method = "HEAD";
  request.target = "/v1/objects/" + name;
  const auto response = co_await ask(*device_, std::move(request));
  if (!response) co_return fail(response.error());
  if (response->status != 200) co_return refused(*response);
  ObjectStat stat;
  stat.size = response->content_length;
  co_return stat;
}

asio::awaitable<Result<std::vector<std::string>>> DaemonNode::list(std::string prefix, std::string after, std::size_t limit) {
  std::vector<std::string> names;
  if ((!prefix.empty() && !is_object_name(prefix)) || (!after.empty() && !is_object_name(after))) co_return names;
  bool more = true;
  while (more && names.size() < limit) {
    HttpRequest request;
    request.method = "GET";
    request.target = "/v1/objects?prefix=" + prefix + "&after=" + after + "&limit=" + std::to_string(std::min(limit - names.size(), names_per_page));
    request.response_max = list_response_max;
    const auto response = co_await ask(*device_, std::move(request));
    if (!response) co_return fail(response.error());
    if (response->status != 200) co_return refused(*response);
    const std::size_t before = names.size();
    const std::string_view text = as_text(response->body);
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      const std::string_view name = text.substr(at, end - at);
      // What a node makes up must not lead in circles.
      if (!is_object_name(name) || !name.starts_with(prefix) || name <= after) co_return fail(Code::io, url_ + " sent a listing that is none");
      names.emplace_back(name);
      after = name;
      at = end + 1;
    }
    more = response->field("atoll-more") == "yes" && names.size() > before;
  }
  if (names.size() > limit) names.resize(limit);
  co_return names;
}

asio::awaitable<Result<std::size_t>> DaemonNode::remove(std::vector<std::string> names) {
  std::size_t gone = 0;
  if (!owner_) co_return owners_only();
  for (const std::string& name : names)
    if (!is_object_name(name)) co_return bad_name();
  while (gone < names.size()) {
    const std::size_t end = std::min(names.size(), gone + names_per_page);
    std::string text;
    for (std::size_t i = gone; i < end; ++i) text += names[i] + "\n";
    HttpRequest request;
    request.method = "POST";
    request.target = "/v1/delete";
    request.body = body_of(std::move(text));
    const auto response = co_await ask(*owner_, std::move(request));
    if (!response && gone == 0) co_return fail(response.error());
    if (response && response->status != 204 && gone == 0) co_return refused(*response);
    if (!response || response->status != 204) co_return gone;
    gone = end;
  }
  co_return gone;
}

asio::awaitable<Result<NodeUsage>> DaemonNode::usage() {
  HttpRequest request;
  request.method = "GET";
  request.target = "/v1/usage";
  const auto response = co_await ask(*device_, std::move(request));
  if (!response) co_return fail(response.error());
  if (response->status != 200) co_return refused(*response);
  const auto json = nlohmann::json::parse(response->body, nullptr, false);
  const auto number = [&](const char* key) {
    const auto found = json.is_object() ? json.find(key) : json.end();
    return json.is_object() && found != json.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : std::uint64_t{0};
  };
  NodeUsage usage;
  usage.used_bytes = number("used_bytes");
  usage.free_bytes = number("free_bytes");
  // Without a quota there is no more than what is free.
  const std::uint64_t quota = number("quota_bytes");
  usage.capacity_bytes = quota > UINT64_MAX / 2 ? usage.used_bytes + usage.free_bytes : std::max(quota, usage.free_bytes);
  co_return usage;
}

asio::awaitable<Result<Labels>> DaemonNode::labels() {
  constexpr std::size_t labels_max = 32;
  HttpRequest request;
  request.method = "GET";
  request.target = "/v1/usage";
  const auto response = co_await ask(*device_, std::move(request));
  if (!response) co_return fail(response.error());
  if (response->status != 200) co_return refused(*response);
  const auto json = nlohmann::json::parse(response->body, nullptr, false);
  Labels labels;
  const auto found = json.is_object() ? json.find("labels") : json.end();
  if (!json.is_object() || found == json.end() || !found->is_object()) co_return labels;
  for (const auto& [key, value] : found->items())
    if (value.is_string() && labels.size() < labels_max) labels.emplace(key.substr(0, 64), value.get<std::string>().substr(0, 256));
  co_return labels;
}

asio::awaitable<Result<>> DaemonNode::redeem(KeyPair invite) {
  if (!credentials_) co_return owners_only();
  Pool once(TlsIdentity(invite), id_);
  HttpRequest request;
  request.method = "POST";
  request.target = "/v1/redeem";
  const Signature signature = credentials_->account.sign(redeem_message(id_, invite.id()));
  nlohmann::json json;
  json["key"] = credentials_->account.public_key().hex();
  json["signature"] = signature.hex();
  request.body = body_of(json.dump());
  const auto response = co_await ask(once, std::move(request));
  if (!response) co_return fail(response.error());
  if (response->status == 403) co_return fail(Code::not_permitted, refused(*response).value().what);
  if (response->status != 200) co_return refused(*response);
  co_return Result<>();
}

asio::awaitable<Result<>> DaemonNode::revoke(KeyId device) {
  if (!owner_) co_return owners_only();
  HttpRequest request;
  request.method = "PUT";
  request.target = "/v1/revoked/" + device.hex();
  const auto response = co_await ask(*owner_, std::move(request));
  if (!response) co_return fail(response.error());
  if (response->status != 204) co_return refused(*response);
  co_return Result<>();
}

asio::awaitable<Result<std::vector<KeyId>>> DaemonNode::ids_at(std::string target) {
  HttpRequest request;
  request.method = "GET";
  request.target = std::move(target);
  const auto response = co_await ask(*device_, std::move(request));
  if (!response) co_return fail(response.error());
  if (response->status != 200) co_return refused(*response);
  std::vector<KeyId> ids;
  std::string_view text = as_text(response->body);
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const auto id = KeyId::from_hex(std::string(text.substr(0, end)));
    if (!id) co_return fail(Code::io, url_ + " sent a list of devices that is none");
    ids.push_back(*id);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  co_return ids;
}

asio::awaitable<Result<std::vector<KeyId>>> DaemonNode::devices() { return ids_at("/v1/devices"); }

asio::awaitable<Result<std::vector<KeyId>>> DaemonNode::revoked() { return ids_at("/v1/revoked"); }

}  // namespace atl
