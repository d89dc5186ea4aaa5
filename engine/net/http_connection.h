// One connection of a client to a node: TLS, then requests and responses, one after the other.
//
// On the loop's thread, inside engine/net and engine/node. Failures of the transport are thrown as
// boost::system::system_error; afterwards the connection is good for nothing. A cancelled call leaves it so as well.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <map>
#include <string>
#include <vector>

#include "engine/base/clock.h"
#include "engine/node/node.h"

namespace atl {

struct HttpRequest {
  std::string method;
  std::string target;
  std::vector<std::pair<std::string, std::string>> fields;
  ObjectBody body;
  std::uint64_t response_max = 1 << 20;  // a longer body is an error
};

struct HttpResponse {
  unsigned status = 0;
  std::map<std::string, std::string> fields;  // names in lower case
  Bytes body;
  std::uint64_t content_length = 0;
  std::string field(const std::string& name) const {
    const auto found = fields.find(name);
    return found == fields.end() ? std::string() : found->second;
  }
};

class HttpConnection {
 public:
  static constexpr Duration dial_max = std::chrono::seconds(10);   // with the handshake
  static constexpr Duration chunk_max = std::chrono::seconds(20);  // for each 64 KiB, and for the node to answer
  static constexpr Duration answer_max = std::chrono::seconds(100);  // a flush on a busy disk takes its time
  static constexpr std::uint64_t expect_from_bytes = 64 << 10;  // larger bodies are sent when the node has agreed

  /// `context` outlives it.
  HttpConnection(asio::any_io_executor executor, asio::ssl::context& context);

  asio::awaitable<void> dial(std::vector<asio::ip::tcp::endpoint> endpoints, std::string host);
  asio::awaitable<HttpResponse> exchange(const HttpRequest& request);
  /// Whether another request may follow.
  bool reusable() const { return reusable_; }

  MonotonicTime idle_since{};

 private:
  asio::awaitable<void> send_body(const ObjectBody& body);

  boost::beast::tcp_stream tcp_;
  asio::ssl::stream<boost::beast::tcp_stream&> tls_;
  boost::beast::flat_buffer buffer_{32 << 10};
  std::string host_;
  bool reusable_ = false;
};

}  // namespace atl
