// A TCP line that misbehaves as its control file says, and small clients that a node must bear. One thread.
//
//   mount_proxy line HOST PORT CONTROL [RECORD]  listens on the loopback, prints its port, forwards to HOST:PORT
//   mount_proxy replay HOST PORT FILE            sends a recorded client's bytes, prints how many were answered
//   mount_proxy flood HOST PORT COUNT            keeps COUNT connections open that say nothing, or half a greeting, from
//                                                many loopback addresses; prints a line when all are, ends with its input
//
// CONTROL holds one of these, is read ten times a second, and copied to CONTROL.now once it applies:
//   pass | delay MS | corrupt N (each N-th byte is another) | drop (bytes vanish) | hold (bytes wait) |
//   cut (connections are reset, new ones too) | parrot FILE (whoever connects hears the recorded server)
// With RECORD, connection K's bytes go to RECORD.up.K and RECORD.down.K.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <iostream>
#include <iterator>
#include <list>
#include <sstream>
#include <string>
#include <vector>

namespace {

using Time = std::chrono::steady_clock::time_point;
Time now() { return std::chrono::steady_clock::now(); }

constexpr std::size_t waiting_max = 4u << 20;  // bytes of one direction on their way; then the sender waits

[[noreturn]] void die(const std::string& what) {
  std::cerr << "mount_proxy: " << what << ": " << std::strerror(errno) << "\n";
  std::exit(1);
}

sockaddr_in address(const char* host, int port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<std::uint16_t>(port));
  if (inet_pton(AF_INET, host, &at.sin_addr) != 1) die(std::string(host) + " is no IPv4 address");
  return at;
}

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Mode {
  std::string what = "pass";
  std::uint64_t number = 0;
  std::string file;
  std::string text;

  static Mode read(const std::string& control) {
    Mode mode;
    mode.text = content_of(control);
    std::istringstream words(mode.text);
    std::string word;
    if (!(words >> mode.what)) mode.what = "pass";
    if (words >> word) {
      mode.number = std::strtoull(word.c_str(), nullptr, 10);
      mode.file = word;
    }
    return mode;
  }
};

struct Chunk {
  std::string bytes;
  Time due;
};

/// One direction of a connection.
struct Flow {
  int from = -1;
  int to = -1;
  std::deque<Chunk> waiting;
  std::size_t waiting_bytes = 0;
  std::uint64_t seen = 0;
  bool ended = false;  // the sender said all
  bool told = false;   // and the receiver knows
  std::string record;
};

struct Connection {
  int client = -1;
  int server = -1;
  Flow up;
  Flow down;
};

void append(const std::string& path, const char* data, std::size_t size) {
  if (path.empty()) return;
  std::ofstream(path, std::ios::binary | std::ios::app).write(data, static_cast<std::streamsize>(size));
}

/// Closed so that the other end sees a reset.
void reset(int socket) {
  if (socket < 0) return;
  const linger hard{1, 0};
  setsockopt(socket, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  close(socket);
}

/// False: the connection is broken.
bool take(Flow& flow, const Mode& mode) {
  char buffer[64 << 10];
  const ssize_t count = recv(flow.from, buffer, sizeof buffer, MSG_DONTWAIT);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  if (count == 0) {
    flow.ended = true;
    return true;
  }
  append(flow.record, buffer, static_cast<std::size_t>(count));
  const std::uint64_t begin = flow.seen;
  flow.seen += static_cast<std::uint64_t>(count);
  if (mode.what == "drop") return true;
  Chunk chunk{std::string(buffer, static_cast<std::size_t>(count)), now()};
  if (mode.what == "delay") chunk.due += std::chrono::milliseconds(mode.number);
  if (mode.what == "corrupt" && mode.number != 0)
    for (std::uint64_t at = (begin / mode.number + 1) * mode.number; at < flow.seen; at += mode.number) chunk.bytes[at - begin] ^= 0x10;
  flow.waiting_bytes += chunk.bytes.size();
  flow.waiting.push_back(std::move(chunk));
  return true;
}

bool give(Flow& flow, const Mode& mode) {
  if (mode.what == "hold" || mode.what == "drop") return true;
  while (!flow.waiting.empty() && flow.waiting.front().due <= now()) {
    std::string& bytes = flow.waiting.front().bytes;
    const ssize_t count = send(flow.to, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    flow.waiting_bytes -= static_cast<std::size_t>(count);
    bytes.erase(0, static_cast<std::size_t>(count));
    if (bytes.empty()) flow.waiting.pop_front();
  }
  if (flow.ended && flow.waiting.empty() && !flow.told) {
    shutdown(flow.to, SHUT_WR);
    flow.told = true;
  }
  return true;
}

void serve_line(const char* host, int port, const std::string& control, const std::string& record) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in own = address("127.0.0.1", 0);
  socklen_t size = sizeof own;
  if (listener < 0 || bind(listener, reinterpret_cast<sockaddr*>(&own), size) != 0 || listen(listener, 256) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&own), &size) != 0)
    die("listen");
  std::cout << ntohs(own.sin_port) << std::endl;
  const sockaddr_in target = address(host, port);
  std::list<Connection> connections;
  Mode mode = Mode::read(control);
  Time read_at = now();
  bool told = false;  // of this mode, which all connections keep to
  for (int number = 0;;) {
    std::vector<pollfd> polled{{listener, POLLIN, 0}};
    for (Connection& each : connections) {
      for (Flow* flow : {&each.up, &each.down}) {
        const bool takes = !flow->ended && flow->waiting_bytes < waiting_max && mode.what != "hold";
        polled.push_back({takes ? flow->from : -1, POLLIN, 0});
        const bool gives = !flow->waiting.empty() && flow->waiting.front().due <= now() && mode.what != "hold" && mode.what != "drop";
        polled.push_back({gives ? flow->to : -1, POLLOUT, 0});
      }
    }
    poll(polled.data(), polled.size(), mode.what == "delay" ? 2 : 50);
    if (now() - read_at > std::chrono::milliseconds(100)) {
      Mode next = Mode::read(control);
      told = told && next.text == mode.text;
      mode = std::move(next);
      read_at = now();
    }
    for (auto each = connections.begin(); each != connections.end();) {
      const bool whole = mode.what != "cut" && [&] {
        for (Flow* flow : {&each->up, &each->down}) {
          if (!flow->ended && flow->waiting_bytes < waiting_max && mode.what != "hold" && !take(*flow, mode)) return false;
          if (!give(*flow, mode)) return false;
        }
        return !(each->up.told && each->down.told);
      }();
      if (whole) {
        ++each;
        continue;
      }
      reset(each->client);
      reset(each->server);
      each = connections.erase(each);
    }
    if (!told) {
      std::ofstream(control + ".new") << mode.text;
      std::rename((control + ".new").c_str(), (control + ".now").c_str());
      told = true;
    }
    if ((polled[0].revents & POLLIN) == 0) continue;
    const int client = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) continue;
    if (mode.what == "cut") {
      reset(client);
      continue;
    }
    if (mode.what == "parrot") {
      char greeting[4096];
      const std::string answer = content_of(mode.file);
      if (recv(client, greeting, sizeof greeting, 0) > 0) static_cast<void>(send(client, answer.data(), answer.size(), MSG_NOSIGNAL));
      close(client);
      continue;
    }
    const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(server, reinterpret_cast<const sockaddr*>(&target), sizeof target) != 0) {
      close(server);
      reset(client);
      continue;
    }
    const int yes = 1;
    for (const int each : {client, server}) setsockopt(each, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    Connection& fresh = connections.emplace_back();
    fresh.client = client;
    fresh.server = server;
    fresh.up.from = fresh.down.to = client;
    fresh.up.to = fresh.down.from = server;
    if (!record.empty()) {
      fresh.up.record = record + ".up." + std::to_string(number);
      fresh.down.record = record + ".down." + std::to_string(number);
    }
    ++number;
  }
}

void replay(const char* host, int port, const std::string& file) {
  const sockaddr_in target = address(host, port);
  const int line = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(line, reinterpret_cast<const sockaddr*>(&target), sizeof target) != 0) die("connect");
  const timeval patience{20, 0};
  setsockopt(line, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(line, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  const std::string bytes = content_of(file);
  for (std::size_t at = 0; at < bytes.size();) {
    const ssize_t count = send(line, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
    if (count <= 0) break;  // it heard enough
    at += static_cast<std::size_t>(count);
  }
  shutdown(line, SHUT_WR);
  std::uint64_t answered = 0;
  char buffer[4096];
  for (ssize_t count = 0; (count = recv(line, buffer, sizeof buffer, 0)) > 0;) answered += static_cast<std::uint64_t>(count);
  std::cout << answered << "\n";
}

void flood(const char* host, int port, std::size_t count) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  const sockaddr_in target = address(host, port);
  // The beginning of a TLS record that announces more than ever comes.
  const std::string half("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);
  std::vector<pollfd> lines(count, pollfd{-1, 0, 0});
  std::uint64_t opened = 0;
  bool told = false;
  pollfd input{0, POLLIN, 0};
  for (;;) {
    // All at once first; what the node closes then is opened again, ten each 20 ms.
    std::size_t again = told ? 10 : count;
    for (pollfd& line : lines) {
      if (line.fd >= 0) continue;
      if (again-- == 0) break;
      line.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      if (line.fd < 0) die("socket");
      char source[32];
      std::snprintf(source, sizeof source, "127.%d.%d.%d", 1 + static_cast<int>(opened / 60000 % 100), static_cast<int>(opened / 250 % 240), 2 + static_cast<int>(opened % 250));
      sockaddr_in own = address(source, 0);
      ++opened;
      bind(line.fd, reinterpret_cast<sockaddr*>(&own), sizeof own);
      if (connect(line.fd, reinterpret_cast<const sockaddr*>(&target), sizeof target) != 0 && errno != EINPROGRESS) {
        close(line.fd);
        line.fd = -1;
        continue;
      }
      line.events = static_cast<short>(opened % 2 == 0 ? POLLOUT : 0);
    }
    if (!told && opened >= count) {
      std::cout << "opened " << opened << std::endl;
      told = true;
    }
    poll(nullptr, 0, told ? 20 : 0);  // a flood that is held, and not one that keeps a processor busy
    poll(lines.data(), lines.size(), 0);
    for (pollfd& line : lines) {
      if (line.fd < 0 || line.revents == 0) continue;
      if ((line.revents & (POLLERR | POLLHUP)) != 0) {
        close(line.fd);
        line.fd = -1;
        continue;
      }
      if ((line.revents & POLLOUT) != 0) {
        static_cast<void>(send(line.fd, half.data(), half.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
        line.events = POLLRDHUP;
      } else if ((line.revents & POLLRDHUP) != 0) {
        close(line.fd);
        line.fd = -1;
      }
    }
    for (pollfd& line : lines)
      if (line.fd >= 0 && line.events == 0) line.events = POLLRDHUP;
    if (poll(&input, 1, 0) > 0) {
      char byte;
      if (read(0, &byte, 1) <= 0) break;
    }
  }
  std::cout << "opened " << opened << std::endl;
}

}  // namespace

int main(int count, char** words) {
  std::signal(SIGPIPE, SIG_IGN);
  const std::string what = count > 1 ? words[1] : "";
  if (what == "line" && (count == 5 || count == 6)) {
    serve_line(words[2], std::atoi(words[3]), words[4], count == 6 ? words[5] : "");
  } else if (what == "replay" && count == 5) {
    replay(words[2], std::atoi(words[3]), words[4]);
  } else if (what == "flood" && count == 5) {
    flood(words[2], std::atoi(words[3]), static_cast<std::size_t>(std::atol(words[4])));
  } else {
    std::cerr << "mount_proxy line HOST PORT CONTROL [RECORD] | replay HOST PORT FILE | flood HOST PORT COUNT\n";
    return 2;
  }
  return 0;
}
