#include "fs/control/control_client.h"

#include <sys/socket.h>

#include <nlohmann/json.hpp>

#include "fs/control/error_json.h"
#include "fs/control/unix_socket.h"

namespace atl {

namespace {

using nlohmann::json;

/// Answers are the daemon's own: reports on large files are long.
constexpr std::size_t answer_bytes_max = 256u << 20;

class Client final : public ControlClient {
 public:
  explicit Client(Descriptor socket) : socket_(std::move(socket)), lines_(socket_.get(), answer_bytes_max) {}

  Result<json> ask(const json& request, std::chrono::milliseconds bound,
                   const std::function<void(const json&)>& progress) override {
    const std::string line = request.dump(-1, ' ', false, json::error_handler_t::replace);
    if (auto sent = send_line(socket_.get(), line, bound); !sent) return fail(sent.error());
    for (;;) {
      auto answer = lines_.next(bound);
      if (!answer && answer.error().code == Code::not_found)
        return fail(Code::unavailable, "the drive's process ended before it answered", "its log says why: atoll status shows where");
      if (!answer) return fail(answer.error());
      json parsed = json::parse(*answer, nullptr, false);
      if (!parsed.is_object()) return fail(Code::failed, "the drive's process answered with something else than JSON");
      if (parsed.contains("error")) return fail(error_from_json(parsed["error"]));
      if (parsed.contains("ok")) return std::move(parsed["ok"]);
      if (parsed.contains("progress") && progress) progress(parsed["progress"]);
    }
  }

  int process() const override {
    ucred peer{};
    socklen_t size = sizeof peer;
    return ::getsockopt(socket_.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
  }

 private:
  Descriptor socket_;
  LineReader lines_;
};

}  // namespace

Result<std::unique_ptr<ControlClient>> ControlClient::connect(const std::string& socket_path) {
  auto socket = connect_to(socket_path);
  if (!socket) return fail(socket.error());
  return std::unique_ptr<ControlClient>(std::make_unique<Client>(std::move(*socket)));
}

}  // namespace atl
