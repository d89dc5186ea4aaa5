#include "fs/command/stop_signals.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>

namespace atl {

StopSignals::StopSignals() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signals_ = Descriptor(::signalfd(-1, &signals, SFD_CLOEXEC));
  std::signal(SIGPIPE, SIG_IGN);
}

void StopSignals::set() {
  const std::uint64_t one = 1;
  static_cast<void>(!::write(event_.get(), &one, sizeof one));
}

std::string StopSignals::wait() {
  for (;;) {
    pollfd polls[2] = {{signals_.get(), POLLIN, 0}, {event_.get(), POLLIN, 0}};
    if (::poll(polls, 2, -1) < 0) continue;
    signalfd_siginfo info{};
    if (polls[0].revents != 0 && ::read(signals_.get(), &info, sizeof info) == sizeof info)
      return std::string("signal ") + ::strsignal(static_cast<int>(info.ssi_signo));
    if (polls[1].revents != 0) return "asked";
  }
}

}  // namespace atl
