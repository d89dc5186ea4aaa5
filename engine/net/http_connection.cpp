#include "engine/net/http_connection.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <algorithm>

namespace atl {

namespace http = boost::beast::http;
using boost::system::error_code;

namespace {

constexpr std::size_t chunk_bytes = 64 << 10;
constexpr std::size_t header_bytes_max = 8 << 10;

}  // namespace

HttpConnection::HttpConnection(asio::any_io_executor executor, asio::ssl::context& context)
    : tcp_(executor), tls_(tcp_, context) {}

asio::awaitable<void> HttpConnection::dial(std::vector<asio::ip::tcp::endpoint> endpoints, std::string host) {
  host_ = std::move(host);
  tcp_.expires_after(dial_max);
  co_await tcp_.async_connect(endpoints, asio::use_awaitable);
  error_code ignored;
  tcp_.socket().set_option(asio::ip::tcp::no_delay(true), ignored);
  co_await tls_.async_handshake(asio::ssl::stream_base::client, asio::use_awaitable);
  reusable_ = true;
}

asio::awaitable<void> HttpConnection::send_body(const ObjectBody& body) {
  // Pieces are gathered: each write is some records of TLS, however small the pieces are.
  Bytes chunk;
  chunk.reserve(static_cast<std::size_t>(std::min<std::uint64_t>(chunk_bytes, body.size())));
  for (std::size_t i = 0; i < body.pieces.size(); ++i) {
    ByteView piece = body.pieces[i];
    while (!piece.empty()) {
      const std::size_t part = std::min(piece.size(), chunk_bytes - chunk.size());
      chunk.insert(chunk.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(part));
      piece = piece.subspan(part);
      if (chunk.size() < chunk_bytes) continue;
      tcp_.expires_after(chunk_max);
      co_await asio::async_write(tls_, asio::buffer(chunk), asio::use_awaitable);
      chunk.clear();
    }
  }
  if (chunk.empty()) co_return;
  tcp_.expires_after(chunk_max);
  co_await asio::async_write(tls_, asio::buffer(chunk), asio::use_awaitable);
}

asio::awaitable<HttpResponse> HttpConnection::exchange(const HttpRequest& request) {
  reusable_ = false;
  const std::uint64_t size = request.body.size();
  bool waits = size >= expect_from_bytes;
  std::string head = request.method + " " + request.target + " HTTP/1.1\r\nHost: " + host_ + "\r\n";
  for (const auto& [name, value] : request.fields) head += name + ": " + value + "\r\n";
  if (request.method == "PUT" || request.method == "POST") head += "Content-Length: " + std::to_string(size) + "\r\n";
  if (waits) head += "Expect: 100-continue\r\n";
  head += "\r\n";
  tcp_.expires_after(chunk_max);
  co_await asio::async_write(tls_, asio::buffer(head), asio::use_awaitable);
  if (!waits) co_await send_body(request.body);

  HttpResponse response;
  for (;;) {
    http::response_parser<http::empty_body> parser;
    parser.header_limit(header_bytes_max);
    parser.body_limit(boost::none);
    parser.skip(request.method == "HEAD");
    tcp_.expires_after(answer_max);
    co_await http::async_read_header(tls_, buffer_, parser, asio::use_awaitable);
    if (parser.get().result_int() == 100 && waits) {
      waits = false;
      co_await send_body(request.body);
      continue;
    }
    response.status = parser.get().result_int();
    for (const auto& field : parser.get().base()) {
      std::string name(field.name_string());
      std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      response.fields.emplace(std::move(name), std::string(field.value()));
    }
    if (parser.chunked()) throw boost::system::system_error(http::make_error_code(http::error::bad_transfer_encoding));
    response.content_length = parser.content_length().value_or(0);
    reusable_ = parser.keep_alive();
    break;
  }
  if (request.method == "HEAD" || response.status == 204) co_return response;
  if (response.content_length > request.response_max)
    throw boost::system::system_error(http::make_error_code(http::error::body_limit));
  const bool keep = std::exchange(reusable_, false);  // not before the body is whole
  response.body.resize(static_cast<std::size_t>(response.content_length));
  std::size_t have = asio::buffer_copy(asio::buffer(response.body), buffer_.data());
  buffer_.consume(have);
  while (have < response.body.size()) {
    const std::size_t end = std::min(response.body.size(), have + chunk_bytes);
    tcp_.expires_after(chunk_max);
    while (have < end) {
      const auto space = asio::buffer(response.body.data() + have, end - have);
      have += co_await tls_.async_read_some(space, asio::use_awaitable);
    }
  }
  reusable_ = keep;
  co_return response;
}

}  // namespace atl
