// HTTP requests to a node, from a device that it knows: a real server on the loopback over TLS, one connection an input. It
// answers in HTTP or not at all, serves the next one, and counts no space for what was not stored.
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>

#include "engine/net/tls.h"
#include "tests/fuzz/target.h"
#include "tests/support/eventually.h"
#include "tests/support/node_host.h"

namespace {

namespace asio = boost::asio;

class Client {
 public:
  Client()
      : raw_(atl::client_context(atl::TlsIdentity(host_.credentials.device, host_.credentials.account), [](ssl_st*, const atl::PeerCertificate&) { return true; })),
        context_((SSL_CTX_up_ref(raw_.get()), raw_.get())) {}

  std::string send(atl::ByteView request) {
    asio::ssl::stream<asio::ip::tcp::socket> stream(io_, context_);
    stream.next_layer().connect({asio::ip::make_address("127.0.0.1"), host_.server->address().port});
    stream.handshake(asio::ssl::stream_base::client);
    boost::system::error_code ended;
    asio::write(stream, asio::buffer(request.data(), request.size()), ended);
    stream.next_layer().shutdown(asio::ip::tcp::socket::shutdown_send, ended);
    std::string answer;
    asio::read(stream, asio::dynamic_buffer(answer), ended);
    return answer;
  }
  bool idle() {
    return atl::eventually([this] {
      const auto usage = host_.store.account_usage(host_.account_id());
      return usage && usage->reserved_bytes == 0;
    });
  }

 private:
  atl::NodeHost host_;
  asio::io_context io_;
  std::shared_ptr<ssl_ctx_st> raw_;
  asio::ssl::context context_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Client client;
  static unsigned count = 0;
  if (size > 16384) return 0;
  const std::string answer = client.send(atl::ByteView(data, size));
  atl::demand(answer.empty() || answer.starts_with("HTTP/1.1 "));
  if (++count % 64 == 0) {
    atl::demand(client.send(atl::as_bytes("GET /v1/usage HTTP/1.1\r\nHost: n\r\n\r\n")).starts_with("HTTP/1.1 200"));
    atl::demand(client.idle());
  }
  return 0;
}
