#include "fs/control/unix_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <system_error>

#include "engine/base/os_error.h"

namespace atl {

namespace {

using Clock = std::chrono::steady_clock;

/// A socket's address has room for 107 bytes; through an open folder any path fits.
struct Address {
  Descriptor folder;
  sockaddr_un address{};
};

Result<Address> address_of(const std::string& path) {
  const std::filesystem::path split(path);
  Address result;
  result.folder = Descriptor(::open(split.parent_path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!result.folder) return fail_errno("open the folder of", path);
  const std::string through = "/proc/self/fd/" + std::to_string(result.folder.get()) + "/" + split.filename().string();
  if (through.size() >= sizeof result.address.sun_path) return fail(Code::invalid, "the name of " + path + " is too long");
  result.address.sun_family = AF_UNIX;
  std::memcpy(result.address.sun_path, through.c_str(), through.size() + 1);
  return result;
}

/// Whether the system call that failed just now may be taken up again.
bool try_again() {
  const std::error_code last(fail_errno("use", "a socket").value().os_error, std::system_category());
  return last == std::errc::interrupted || last == std::errc::resource_unavailable_try_again;
}

Result<> wait_for(int socket, short what, Clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd poll{socket, what, 0};
    const int ready = ::poll(&poll, 1, static_cast<int>(std::max<long long>(left, 0)));
    if (ready > 0) return {};
    if (ready == 0) return fail(Code::timed_out, "the other side of the control socket does not answer");
  }
}

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(number_, other.number_);
  return *this;
}

Descriptor::~Descriptor() {
  if (number_ >= 0) ::close(number_);
}

Result<Descriptor> listen_at(const std::string& path) {
  auto address = address_of(path);
  if (!address) return fail(address.error());
  ::unlink(path.c_str());
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return fail_errno("make a socket at", path);
  // Before bind: the name must never be open to others, whatever the umask is.
  ::fchmod(socket.get(), 0600);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address->address), sizeof address->address) != 0)
    return fail_errno("make the socket", path);
  if (::chmod(path.c_str(), 0600) != 0) return fail_errno("close to others the socket", path);
  if (::listen(socket.get(), 16) != 0) return fail_errno("listen at", path);
  return socket;
}

Result<Descriptor> connect_to(const std::string& path) {
  auto address = address_of(path);
  if (!address) return fail(Code::not_found, "nobody listens at " + path);
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return fail_errno("make a socket for", path);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address->address), sizeof address->address) != 0) {
    const auto failed = fail_errno("reach the drive's process through", path);
    if (failed.value().code == Code::access_denied) return failed;
    return fail(Code::not_found, "nobody listens at " + path);
  }
  return socket;
}

Result<std::string> LineReader::next(std::chrono::milliseconds bound) {
  const auto deadline = Clock::now() + bound;
  for (std::size_t searched = 0;;) {
    const std::size_t end = pending_.find('\n', searched);
    if (end != std::string::npos && end <= line_bytes_max_) {
      std::string line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      return line;
    }
    searched = pending_.size();
    if (searched > line_bytes_max_) return fail(Code::too_large, "a line on the control socket is too long");
    if (auto ready = wait_for(socket_, POLLIN, deadline); !ready) return fail(ready.error());
    char chunk[4096];
    const ssize_t count = ::recv(socket_, chunk, sizeof chunk, MSG_DONTWAIT);
    if (count == 0) return fail(Code::not_found, "the other side of the control socket went away");
    if (count > 0)
      pending_.append(chunk, static_cast<std::size_t>(count));
    else if (!try_again())
      return fail(Code::not_found, "the other side of the control socket went away");
  }
}

Result<> send_line(int socket, std::string line, std::chrono::milliseconds bound) {
  line.push_back('\n');
  const auto deadline = Clock::now() + bound;
  for (std::size_t sent = 0; sent < line.size();) {
    if (auto ready = wait_for(socket, POLLOUT, deadline); !ready) return ready;
    const ssize_t count = ::send(socket, line.data() + sent, line.size() - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count > 0)
      sent += static_cast<std::size_t>(count);
    else if (!try_again())
      return fail_errno("write to", "the control socket");
  }
  return {};
}

Result<> send_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(descriptor, text.data(), text.size());
    if (count > 0)
      text.remove_prefix(static_cast<std::size_t>(count));
    else if (!try_again())
      return fail_errno("write to", "a pipe");
  }
  return {};
}

}  // namespace atl
