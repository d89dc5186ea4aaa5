// The control socket, both ends: hostile lines to the daemon's side over a real socket pair's worth of parsing, and hostile
// answers to a client's. Errors as JSON come back as they were.
#include <sys/socket.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "fs/control/error_json.h"
#include "fs/control/unix_socket.h"
#include "tests/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace atl;
  constexpr std::size_t line_max = 4096;
  if (size > 16384) return 0;  // what a socket takes without a reader
  int ends[2];
  demand(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  const Descriptor ours(ends[0]);
  Descriptor theirs(ends[1]);
  demand(size == 0 || ::send(theirs.get(), data, size, MSG_NOSIGNAL) == static_cast<ssize_t>(size));
  theirs = Descriptor();
  LineReader lines(ours.get(), line_max);
  for (;;) {
    const auto line = lines.next(std::chrono::seconds(10));
    if (!line) {
      demand(line.error().code == Code::not_found || line.error().code == Code::too_large);
      break;
    }
    demand(line->size() <= line_max && line->find('\n') == std::string::npos);
    const auto json = nlohmann::json::parse(*line, nullptr, false);
    const Error error = error_from_json(json);
    const Error again = error_from_json(to_json(error));
    demand(again.code == error.code && again.what == error.what && again.hint == error.hint);
    (void)json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  return 0;
}
