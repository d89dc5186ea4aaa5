// What a hostile node answers a client: the first byte chooses the request, the rest is the response, over TLS on the
// loopback. The client gets a result or an error, never more than it asked for, and no name that is none.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <future>
#include <mutex>
#include <thread>

#include "engine/base/random.h"
#include "engine/loop/asio_loop.h"
#include "engine/net/tls.h"
#include "engine/node/daemon_node.h"
#include "tests/fuzz/target.h"

namespace {

namespace asio = boost::asio;
using namespace atl;

/// Answers every request with the same bytes, then closes.
class Liar {
 public:
  explicit Liar(const KeyPair& key)
      : raw_(server_context(TlsIdentity(key), [](ssl_st*, const PeerCertificate&) { return true; })), context_((SSL_CTX_up_ref(raw_.get()), raw_.get())),
        acceptor_(io_, {asio::ip::make_address("127.0.0.1"), 0}) {
    std::thread([this] { run(); }).detach();  // as long as the process
  }
  std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
  void say(ByteView bytes) {
    const std::lock_guard lock(mutex_);
    answer_.assign(bytes.begin(), bytes.end());
  }

 private:
  void run() {
    for (;;) {
      asio::ssl::stream<asio::ip::tcp::socket> stream(acceptor_.accept(), context_);
      boost::system::error_code error;
      stream.handshake(asio::ssl::stream_base::server, error);
      std::string request;
      if (!error) asio::read_until(stream, asio::dynamic_buffer(request), "\r\n\r\n", error);
      if (error) continue;
      Bytes answer;
      {
        const std::lock_guard lock(mutex_);
        answer = answer_;
      }
      asio::write(stream, asio::buffer(answer), error);
      stream.next_layer().shutdown(asio::ip::tcp::socket::shutdown_send, error);
    }
  }

  asio::io_context io_;
  std::shared_ptr<ssl_ctx_st> raw_;
  asio::ssl::context context_;
  asio::ip::tcp::acceptor acceptor_;
  std::mutex mutex_;
  Bytes answer_;
};

struct Subject {
  SystemRandom random;
  SystemClock clock;
  const KeyPair key = KeyPair::generate(random);
  Liar* const liar = new Liar(key);  // its thread never ends
  AsioLoop loop{clock};
  DaemonNode node{loop, {"127.0.0.1", liar->port()}, [this] {
                    NodeId id;
                    id.bytes = key.id().bytes;
                    return id;
                  }(),
                  NodeCredentials{KeyPair::generate(random), KeyPair::generate(random)}};
  ~Subject() {
    loop.stop();
    demand(node.close(std::chrono::seconds(60)));
    loop.drain();
  }

  template <typename T>
  Result<T> run(asio::awaitable<Result<T>> call) {
    auto answer = std::make_shared<std::promise<Result<T>>>();
    asio::co_spawn(loop.executor(), std::move(call), [answer](std::exception_ptr thrown, Result<T> result) {
      thrown ? answer->set_exception(thrown) : answer->set_value(std::move(result));
    });
    return answer->get_future().get();
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Subject subject;
  const ByteView response(data + 1, size == 0 ? 0 : size - 1);
  // A busy node is asked again after seconds.
  if (size == 0 || size > 16384 || as_text(response).find("503") != std::string_view::npos) return 0;
  subject.liar->say(response);
  switch (data[0] % 6) {
    case 0: {
      const auto got = subject.run(subject.node.get("name", 10, 100));
      demand(!got || got->size() <= 100);
      break;
    }
    case 1: {
      const auto got = subject.run(subject.node.get("name", 0, ~std::uint64_t{0}));
      demand(!got || got->size() <= size);
      break;
    }
    case 2: {
      const auto names = subject.run(subject.node.list("na", "", 5));
      if (names) demand(names->size() <= 5 && std::ranges::all_of(*names, [](const std::string& name) { return is_object_name(name) && name.starts_with("na"); }));
      break;
    }
    case 3: (void)subject.run(subject.node.stat("name")); break;
    case 4: (void)subject.run(subject.node.usage()); break;
    default: {
      const auto labels = subject.run(subject.node.labels());
      demand(!labels || labels->size() <= 32);
    }
  }
  return 0;
}
