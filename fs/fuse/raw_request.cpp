#include "fs/fuse/raw_request.h"

#include <linux/fuse.h>

#include <cstdint>
#include <cstring>

namespace atl::raw_request {

namespace {

thread_local const std::uint8_t* request = nullptr;
thread_local std::size_t request_bytes = 0;

fuse_in_header header() {
  fuse_in_header found{};
  if (request_bytes >= sizeof found) std::memcpy(&found, request, sizeof found);
  return found;
}

/// The request's arguments. A request of an older protocol is shorter: what it lacks is zero.
template <typename Arguments>
Arguments arguments() {
  Arguments found{};
  if (request_bytes > sizeof(fuse_in_header)) {
    const std::size_t there = request_bytes - sizeof(fuse_in_header);
    std::memcpy(&found, request + sizeof(fuse_in_header), there < sizeof found ? there : sizeof found);
  }
  return found;
}

}  // namespace

void received(const void* bytes, std::size_t count) {
  request = static_cast<const std::uint8_t*>(bytes);
  request_bytes = count;
}

bool drops_set_id() {
  switch (header().opcode) {
    case FUSE_WRITE:
      return (arguments<fuse_write_in>().write_flags & FUSE_WRITE_KILL_SUIDGID) != 0;
    case FUSE_SETATTR:
      return (arguments<fuse_setattr_in>().valid & FATTR_KILL_SUIDGID) != 0;
    default:
      return false;
  }
}

void complete_init_answer(const iovec* answer, int pieces) {
  const fuse_in_header asked = header();
  if (asked.opcode != FUSE_INIT || pieces < 2 || answer[0].iov_len != sizeof(fuse_out_header)) return;
  fuse_out_header head{};
  std::memcpy(&head, answer[0].iov_base, sizeof head);
  if (head.unique != asked.unique || head.error != 0) return;
  constexpr std::size_t flags_end = offsetof(fuse_init_out, flags) + sizeof(fuse_init_out::flags);
  if (answer[1].iov_len < flags_end) return;
  std::uint32_t flags = 0;
  auto* const at = static_cast<std::uint8_t*>(answer[1].iov_base) + offsetof(fuse_init_out, flags);
  std::memcpy(&flags, at, sizeof flags);
  flags |= arguments<fuse_init_in>().flags & FUSE_HANDLE_KILLPRIV_V2;
  std::memcpy(at, &flags, sizeof flags);
}

}  // namespace atl::raw_request
