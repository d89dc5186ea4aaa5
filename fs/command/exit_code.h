// What a command's exit status means. Part of the interface: scripts and units rely on it.
#pragma once

#include "engine/base/result.h"

namespace atl {

enum class Exit : int {
  done = 0,
  failed = 1,
  usage = 2,
  no_drive = 3,  // or not mounted
  busy = 4,      // or owned elsewhere
  time_out = 5,  // or not yet protected
  too_few_nodes = 6,
  key = 7,       // or passphrase
};

/// What an error means for the exit status, where its command does not know better.
constexpr Exit exit_for(Code code) {
  switch (code) {
    case Code::busy:
    case Code::fenced: return Exit::busy;
    case Code::timed_out: return Exit::time_out;
    case Code::too_few_nodes: return Exit::too_few_nodes;
    case Code::key: return Exit::key;
    default: return Exit::failed;
  }
}

/// An error of a command, with its exit status.
struct Failure {
  Error error;
  Exit exit = Exit::failed;

  Failure(Error error_) : error(std::move(error_)), exit(exit_for(error.code)) {}  // NOLINT: meant to convert
  Failure(Error error_, Exit exit_) : error(std::move(error_)), exit(exit_) {}
};

/// What a command's work returns.
template <typename T = void>
using Outcome = tl::expected<T, Failure>;

inline tl::unexpected<Failure> give_up(Error error) { return tl::unexpected<Failure>(Failure(std::move(error))); }
inline tl::unexpected<Failure> give_up(Error error, Exit exit) {
  return tl::unexpected<Failure>(Failure(std::move(error), exit));
}

}  // namespace atl
