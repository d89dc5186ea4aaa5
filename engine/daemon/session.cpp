#include "engine/daemon/session.h"

#include <openssl/ssl.h>
#include <spdlog/spdlog.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

namespace atl {

namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;

ServerSession::ServerSession(ServerCore& core, asio::ip::tcp::socket socket, std::string address)
    : core_(core), address_(std::move(address)), tcp_(std::move(socket)) {
  core_.running.insert(this);
  core_.admission.enter(*this, address_);
  core_.count_connections();
}

ServerSession::~ServerSession() {
  core_.admission.leave(*this);
  core_.count_connections();
  core_.left(*this);
}

void ServerSession::close() {
  error_code ignored;
  tcp_.socket().close(ignored);  // what runs on it ends with an error, later
}

void ServerSession::finish() {
  last_ = true;
  if (!serving_) close();
}

bool ServerSession::welcome(const PeerCertificate& certificate) {
  peer_ = core_.gatekeeper.welcome(certificate);
  return peer_.has_value();
}

asio::awaitable<void> ServerSession::serve() {
  const auto self = shared_from_this();
  try {
    if (!co_await handshake()) co_return;
    while (!last_ && co_await serve_one()) continue;
    // The peer is told that nothing follows; what it answers does not matter.
    tcp_.expires_after(core_.options.limits.chunk);
    error_code ignored;
    co_await tls_->async_shutdown(asio::redirect_error(asio::use_awaitable, ignored));
  } catch (const boost::system::system_error& error) {
    if (error.code() == beast::error::timeout) {
      ++core_.counters.timed_out;
      spdlog::info("too slow: address={} account={}", address_, peer_ ? peer_->account.hex().substr(0, 16) : "unknown");
    }
  } catch (const std::exception& error) {
    spdlog::error("a connection ended: address={} error=\"{}\"", address_, error.what());
  }
}

asio::awaitable<bool> ServerSession::handshake() {
  tcp_.expires_after(core_.options.limits.handshake);
  // Whoever says nothing costs a socket, and no state of TLS.
  std::array<std::uint8_t, 1024> first;
  error_code error;
  const std::size_t size = co_await tcp_.async_read_some(asio::buffer(first), asio::redirect_error(asio::use_awaitable, error));
  if (!error) {
    tls_.emplace(tcp_, *core_.tls);
    attach(tls_->native_handle(), this);
    const auto buffered = asio::buffer(first.data(), size);
    co_await tls_->async_handshake(asio::ssl::stream_base::server, buffered, asio::redirect_error(asio::use_awaitable, error));
  }
  if (error || !peer_) {
    ++core_.counters.handshakes_refused;
    if (error == beast::error::timeout) ++core_.counters.timed_out;
    core_.refusals.add(core_.clock.now(), address_, error.message());
    co_return false;
  }
  ++core_.counters.handshakes;
  KeyId tenant;
  tenant.bytes = peer_->account.bytes;
  const bool room = core_.admission.promote(*this, tenant);
  core_.count_connections();
  if (!room) spdlog::info("too many connections: account={} address={}", peer_->account.hex().substr(0, 16), address_);
  co_return room;
}

asio::awaitable<std::optional<ServerSession::Head>> ServerSession::read_head() {
  if (buffer_.size() == 0) {
    core_.admission.set_idle(*this, true);
    tcp_.expires_after(core_.options.limits.idle);
    error_code error;
    const auto space = buffer_.prepare(4096);
    const std::size_t size = co_await tls_->async_read_some(space, asio::redirect_error(asio::use_awaitable, error));
    core_.admission.set_idle(*this, false);
    if (error) co_return std::nullopt;  // gone, or idle for too long: no fault
    buffer_.commit(size);
  }
  tcp_.expires_after(core_.options.limits.header);
  http::request_parser<http::empty_body> parser;
  parser.header_limit(header_bytes_max);
  parser.body_limit(boost::none);
  error_code error;
  co_await http::async_read_header(*tls_, buffer_, parser, asio::redirect_error(asio::use_awaitable, error));
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    last_ = true;
    const HttpReply answer(431, "the headers are longer than 8 KiB\n");
    co_await send(answer, answer.body.size());
    co_return std::nullopt;
  }
  if (error && error.category() == beast::http::make_error_code(http::error::bad_method).category() && error != http::error::end_of_stream &&
      error != http::error::partial_message) {
    last_ = true;
    const HttpReply answer(400, "this is no HTTP/1.1 request\n");
    co_await send(answer, answer.body.size());
    co_return std::nullopt;
  }
  if (error) throw boost::system::system_error(error);
  last_ = last_ || !parser.keep_alive() || core_.stopping;
  body_left_ = parser.content_length().value_or(0);
  if (parser.chunked()) {
    last_ = true;
    const HttpReply answer(411, "a body needs its Content-Length\n");
    co_await send(answer, answer.body.size());
    co_return std::nullopt;
  }
  Head head = parser.release().base();
  co_return head;
}

asio::awaitable<bool> ServerSession::serve_one() {
  const auto head = co_await read_head();
  if (!head) co_return false;
  expects_ = beast::iequals((*head)[http::field::expect], "100-continue");
  KeyId tenant;
  tenant.bytes = peer_->account.bytes;
  tcp_.expires_never();  // waiting for one's turn is no fault of the client
  {
    const auto slot = co_await core_.served.acquire(tenant);
    core_.count_connections();
    serving_ = true;
    co_await answer_head(*head);
    serving_ = false;
  }
  core_.count_connections();
  co_return true;
}

asio::awaitable<std::size_t> ServerSession::read_body(MutableBytes out) {
  const std::size_t wanted = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), body_left_));
  std::size_t have = asio::buffer_copy(asio::buffer(out.data(), wanted), buffer_.data());
  buffer_.consume(have);
  tcp_.expires_after(core_.options.limits.chunk);
  while (have < wanted) {
    const auto space = asio::buffer(out.data() + have, wanted - have);
    have += co_await tls_->async_read_some(space, asio::use_awaitable);
  }
  body_left_ -= have;
  core_.counters.received_bytes += have;
  co_return have;
}

asio::awaitable<std::string> ServerSession::read_small_body() {
  co_await continue_if_expected();
  std::string body(static_cast<std::size_t>(body_left_), '\0');
  const MutableBytes whole(reinterpret_cast<std::uint8_t*>(body.data()), body.size());
  co_await read_body(whole);
  co_return body;
}

asio::awaitable<void> ServerSession::discard_body() {
  if (expects_ || body_left_ > ObjectStore::object_bytes_max) {
    // Whether the client sends its body after a final answer is its choice: the connection ends instead.
    last_ = true;
    co_return;
  }
  Bytes chunk(static_cast<std::size_t>(std::min<std::uint64_t>(chunk_bytes, body_left_)));
  while (body_left_ > 0) co_await read_body(chunk);
}

asio::awaitable<void> ServerSession::continue_if_expected() {
  if (!std::exchange(expects_, false)) co_return;
  co_await send("HTTP/1.1 100 Continue\r\n\r\n");
}

asio::awaitable<void> ServerSession::send(std::string_view bytes) {
  tcp_.expires_after(core_.options.limits.chunk);
  co_await asio::async_write(*tls_, asio::buffer(bytes.data(), bytes.size()), asio::use_awaitable);
}

asio::awaitable<void> ServerSession::send(const HttpReply& answer, std::uint64_t length) {
  status_ = answer.status;
  std::string text = response_head(answer, length, last_);
  text += answer.body;
  co_await send(text);
  core_.counters.sent_bytes += answer.body.size();
}

}  // namespace atl
