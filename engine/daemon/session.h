// One connection of a node's server: handshake, then request after request until it is closed, idle for too long, or the
// server stops. Inside engine/daemon; on the network thread.
#pragma once

#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/verb.hpp>
#include <memory>
#include <optional>
#include <string>

#include "engine/daemon/reply.h"
#include "engine/daemon/server_core.h"

namespace atl {

class ServerSession final : public Guest, public Ending, public std::enable_shared_from_this<ServerSession> {
 public:
  static constexpr std::size_t chunk_bytes = 64 << 10;
  static constexpr std::size_t header_bytes_max = 8 << 10;
  static constexpr std::size_t small_body_bytes_max = 128 << 10;  // of requests that are read whole

  ServerSession(ServerCore& core, asio::ip::tcp::socket socket, std::string address);
  ~ServerSession() override;

  asio::awaitable<void> serve();
  void close() override;
  void finish() override;
  void cut() override { close(); }
  /// Called in the handshake.
  bool welcome(const PeerCertificate& certificate);

 private:
  using Head = boost::beast::http::request_header<>;

  asio::awaitable<bool> handshake();
  /// Nothing: the connection ends.
  asio::awaitable<bool> serve_one();
  asio::awaitable<std::optional<Head>> read_head();
  asio::awaitable<void> answer_head(const Head& head);

  asio::awaitable<HttpReply> put(const Head& head, std::string name);
  asio::awaitable<void> get(const Head& head, std::string name);
  asio::awaitable<HttpReply> remove_one(std::string name);
  asio::awaitable<HttpReply> remove_many();
  asio::awaitable<HttpReply> list(std::string query);
  asio::awaitable<HttpReply> usage();
  asio::awaitable<HttpReply> redeem();
  asio::awaitable<HttpReply> revoke(std::string device);
  asio::awaitable<HttpReply> list_revoked();
  asio::awaitable<HttpReply> list_devices();
  asio::awaitable<HttpReply> restore();

  /// The next bytes of the request's body: as many as fit, less only at its end.
  asio::awaitable<std::size_t> read_body(MutableBytes out);
  asio::awaitable<std::string> read_small_body();
  asio::awaitable<void> discard_body();
  asio::awaitable<void> send(std::string_view bytes);
  asio::awaitable<void> send(const HttpReply& answer, std::uint64_t length);
  asio::awaitable<void> continue_if_expected();
  bool is_owner() const { return peer_->role == Role::owner; }
  /// Whether a delegate was given this; `path` and `query` as the request has them.
  bool delegated(boost::beast::http::verb verb, std::string_view path, std::string_view query) const;

  ServerCore& core_;
  const std::string address_;
  boost::beast::tcp_stream tcp_;
  std::optional<asio::ssl::stream<boost::beast::tcp_stream&>> tls_;
  boost::beast::flat_buffer buffer_{16 << 10};
  std::optional<Peer> peer_;
  bool serving_ = false;         // a request is whole enough to be answered
  bool last_ = false;            // the connection ends after this answer
  bool expects_ = false;         // the client waits for "100 Continue"
  std::uint64_t body_left_ = 0;  // of this request, still to be read
  unsigned status_ = 0;          // of the last answer
};

}  // namespace atl
