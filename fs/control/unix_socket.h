// Unix stream sockets with paths of any length, and JSON lines over them. Internal to fs/control/.
// Blocking; an object is used by one thread at a time, except that shutdown() may come from another.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "engine/base/result.h"

namespace atl {

/// An open descriptor, closed by its owner. Movable.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(other.number_) { other.number_ = -1; }
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();
  int get() const { return number_; }
  explicit operator bool() const { return number_ >= 0; }

 private:
  int number_;
};

/// Listens at `path` with mode 0600; a socket that lies there is removed first.
Result<Descriptor> listen_at(const std::string& path);
/// Code::not_found if nobody listens there.
Result<Descriptor> connect_to(const std::string& path);

/// Lines of a stream.
class LineReader {
 public:
  LineReader(int socket, std::size_t line_bytes_max) : socket_(socket), line_bytes_max_(line_bytes_max) {}
  /// The next line without its end. Code::not_found at the end of the stream, too_large, timed_out, io.
  Result<std::string> next(std::chrono::milliseconds bound);

 private:
  const int socket_;
  const std::size_t line_bytes_max_;
  std::string pending_;
};

/// Sends all of `line` and a line end. Code::timed_out, io.
Result<> send_line(int socket, std::string line, std::chrono::milliseconds bound);

/// Writes all of `text` to a pipe or file, blocking. Code::io.
Result<> send_all(int descriptor, std::string_view text);

}  // namespace atl
