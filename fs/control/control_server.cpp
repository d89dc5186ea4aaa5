#include "fs/control/control_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <list>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/base/os_error.h"
#include "fs/control/error_json.h"
#include "fs/control/unix_socket.h"

namespace atl {

namespace {

using nlohmann::json;

constexpr auto line_bound = std::chrono::seconds(10);
constexpr auto answer_bound = std::chrono::seconds(5);

/// Replaces what is not UTF-8 (a path in a message) instead of throwing.
std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

class Server final : public ControlServer {
 public:
  Server(std::string path, Descriptor socket, Descriptor wake, ControlHandler handler)
      : path_(std::move(path)), socket_(std::move(socket)), wake_(std::move(wake)), handler_(std::move(handler)),
        listener_([this] { run(); }) {}

  ~Server() override {
    stop_.request_stop();
    const std::uint64_t one = 1;
    static_cast<void>(!::write(wake_.get(), &one, sizeof one));  // never read: every poll sees it
    listener_.join();
    std::unique_lock lock(mutex_);
    gone_.wait(lock, [this] { return connections_ == 0; });
    ::unlink(path_.c_str());
  }

 private:
  void run() {
    while (!stop_.stop_requested()) {
      pollfd polls[2] = {{socket_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
      if (::poll(polls, 2, -1) <= 0 || polls[0].revents == 0) continue;
      Descriptor connection(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!connection) continue;
      {
        const std::lock_guard lock(mutex_);
        if (connections_ >= control_connections_max) continue;  // closes it
        ++connections_;
      }
      try {
        std::thread([this, connection = std::move(connection)]() mutable {
          try {
            serve(connection.get());
          } catch (const std::exception&) {
            // The connection ends; its client sees that.
          }
          connection = Descriptor();
          const std::lock_guard lock(mutex_);
          --connections_;
          gone_.notify_all();
        }).detach();
      } catch (const std::system_error&) {
        const std::lock_guard lock(mutex_);
        --connections_;
      }
    }
  }

  static bool is_friend(int connection) {
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
    return peer.uid == ::geteuid() || peer.uid == 0;
  }

  void serve(int connection) {
    const auto answer = [&](const json& line) { return send_line(connection, dump(line), answer_bound).has_value(); };
    const auto refuse = [&](Error error) { return answer({{"error", to_json(error)}}); };
    if (!is_friend(connection)) {
      refuse(Error(Code::access_denied, "this process is another user's"));
      return;
    }
    LineReader lines(connection, control_line_bytes_max);
    while (!stop_.stop_requested()) {
      if (!wait_for_request(connection)) return;
      auto line = lines.next(line_bound);
      if (!line) {
        if (line.error().code == Code::too_large) refuse(line.error());
        return;
      }
      const json request = json::parse(*line, nullptr, false);
      if (!request.is_object() || !request.contains("do") || !request["do"].is_string()) {
        if (!refuse(Error(Code::invalid, "not a request: a line of JSON with \"do\" is expected"))) return;
        continue;
      }
      if (!run_request(connection, request, answer)) return;
    }
  }

  /// Until the next line begins; false when the server stops or the line does not come in time.
  bool wait_for_request(int connection) {
    pollfd polls[2] = {{connection, POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    const int ready = ::poll(polls, 2, static_cast<int>(std::chrono::milliseconds(line_bound).count()));
    return ready > 0 && polls[1].revents == 0;
  }

  /// Runs the handler beside a watch on the connection: a client that goes away ends its request.
  template <typename Answer>
  bool run_request(int connection, const json& request, const Answer& answer) {
    std::stop_source stop;
    const std::stop_callback with_server(stop_.get_token(), [&] { stop.request_stop(); });
    Descriptor finished(::eventfd(0, EFD_CLOEXEC));
    bool taken = false;
    std::thread worker([&] {
      const ProgressSink progress = [&](const json& value) { return answer({{"progress", value}}); };
      json last;
      try {
        auto result = handler_(request, progress, stop.get_token());
        last = result ? json{{"ok", std::move(*result)}} : json{{"error", to_json(result.error())}};
      } catch (const std::exception& error) {
        last = {{"error", to_json(Error(Code::failed, error.what()))}};
      }
      taken = answer(last);
      const std::uint64_t one = 1;
      static_cast<void>(!::write(finished.get(), &one, sizeof one));
    });
    for (;;) {
      pollfd polls[2] = {{finished.get(), POLLIN, 0}, {connection, POLLRDHUP, 0}};
      if (stop.stop_requested()) polls[1].fd = -1;
      if (::poll(polls, 2, -1) < 0) continue;
      if (polls[0].revents != 0) break;
      if (polls[1].revents != 0) stop.request_stop();
    }
    worker.join();
    return taken;
  }

  const std::string path_;
  const Descriptor socket_;
  const Descriptor wake_;
  const ControlHandler handler_;
  std::stop_source stop_;
  std::mutex mutex_;
  std::condition_variable gone_;
  std::size_t connections_ = 0;  // guarded by mutex_
  std::thread listener_;         // last: uses the others
};

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::listen(const std::string& path, ControlHandler handler) {
  auto socket = listen_at(path);
  if (!socket) return fail(socket.error());
  Descriptor wake(::eventfd(0, EFD_CLOEXEC));
  if (!wake) return fail_errno("make an event for", path);
  return std::unique_ptr<ControlServer>(
      std::make_unique<Server>(path, std::move(*socket), std::move(wake), std::move(handler)));
}

}  // namespace atl
