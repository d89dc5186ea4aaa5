// The daemon's ear: a Unix stream socket in the state folder, one JSON object a line.
//
// A client sends one request and reads lines until the final one:
//
//     > {"do": "sync", "level": "full"}
//     < {"progress": {...}}            any number of times
//     < {"ok": {...}}                  or {"error": {"code", "what", "hint"}}
//
// and may send the next on the same connection. Only this user and root are heard (SO_PEERCRED; the socket is 0600).
// Everything is bounded: connections, the length of a line, the time for a line to arrive and for an answer to be taken.
// A client that goes away stops what it asked for. Requests of several connections run at the same time.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <stop_token>
#include <string>

#include "engine/base/result.h"

namespace atl {

inline constexpr std::size_t control_line_bytes_max = 64 * 1024;
inline constexpr std::size_t control_connections_max = 16;

/// Sends a progress line; false once the client is gone.
using ProgressSink = std::function<bool(const nlohmann::json&)>;
/// Answers one request; called on a thread of the connection.
using ControlHandler =
    std::function<Result<nlohmann::json>(const nlohmann::json& request, const ProgressSink& progress, std::stop_token stop)>;

class ControlServer {
 public:
  /// Listens at `path`, in place of a socket left over from a crash. Code::io.
  static Result<std::unique_ptr<ControlServer>> listen(const std::string& path, ControlHandler handler);
  /// Stops what runs, lets last answers out, removes the socket.
  virtual ~ControlServer() = default;
};

}  // namespace atl
