// Asks a drive's running process something, through its control socket. Blocking; one thread at a time.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "engine/base/result.h"

namespace atl {

class ControlClient {
 public:
  /// Code::not_found if the drive has no running process.
  static Result<std::unique_ptr<ControlClient>> connect(const std::string& socket_path);
  virtual ~ControlClient() = default;

  /// The final answer; the daemon's error with its code. Code::timed_out if `bound` passes without a word,
  /// Code::unavailable if the process ends meanwhile.
  virtual Result<nlohmann::json> ask(const nlohmann::json& request, std::chrono::milliseconds bound,
                                     const std::function<void(const nlohmann::json&)>& progress = {}) = 0;
  /// The process that listens.
  virtual int process() const = 0;
};

}  // namespace atl
