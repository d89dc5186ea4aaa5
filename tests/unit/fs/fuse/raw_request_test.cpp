#include "fs/fuse/raw_request.h"

#include <linux/fuse.h>

#include <catch2/catch.hpp>
#include <cstdint>
#include <cstring>
#include <vector>

using namespace atl;

namespace {

template <typename Arguments>
std::vector<std::uint8_t> request(fuse_opcode opcode, const Arguments& arguments, std::uint64_t unique = 7) {
  fuse_in_header header{};
  header.opcode = opcode;
  header.unique = unique;
  std::vector<std::uint8_t> bytes(sizeof header + sizeof arguments);
  std::memcpy(bytes.data(), &header, sizeof header);
  std::memcpy(bytes.data() + sizeof header, &arguments, sizeof arguments);
  return bytes;
}

/// The flags of an answer to INIT after it was completed, where this thread works on `asked`.
std::uint32_t completed(const std::vector<std::uint8_t>& asked, std::uint32_t flags, std::uint64_t unique = 7,
                        int error = 0) {
  raw_request::received(asked.data(), asked.size());
  fuse_out_header head{};
  head.unique = unique;
  head.error = error;
  fuse_init_out init{};
  init.flags = flags;
  const iovec pieces[] = {{&head, sizeof head}, {&init, sizeof init}};
  raw_request::complete_init_answer(pieces, 2);
  return init.flags;
}

std::vector<std::uint8_t> init_that_offers(std::uint32_t flags) {
  fuse_init_in offer{};
  offer.flags = flags;
  return request(FUSE_INIT, offer);
}

bool drops(const std::vector<std::uint8_t>& asked) {
  raw_request::received(asked.data(), asked.size());
  return raw_request::drops_set_id();
}

}  // namespace

TEST_CASE("A write or a truncate drops set-id bits exactly where the kernel says so") {
  fuse_write_in write{};
  CHECK_FALSE(drops(request(FUSE_WRITE, write)));
  write.write_flags = FUSE_WRITE_CACHE;
  CHECK_FALSE(drops(request(FUSE_WRITE, write)));
  write.write_flags = FUSE_WRITE_KILL_SUIDGID;
  CHECK(drops(request(FUSE_WRITE, write)));
  fuse_setattr_in change{};
  change.valid = FATTR_SIZE | FATTR_CTIME;
  CHECK_FALSE(drops(request(FUSE_SETATTR, change)));
  change.valid |= FATTR_KILL_SUIDGID;
  CHECK(drops(request(FUSE_SETATTR, change)));
  // The same bytes in a request of another kind mean something else.
  CHECK_FALSE(drops(request(FUSE_GETATTR, change)));
}

TEST_CASE("A request that is cut short or absent drops nothing") {
  fuse_write_in write{};
  write.write_flags = FUSE_WRITE_KILL_SUIDGID;
  auto cut = request(FUSE_WRITE, write);
  cut.resize(sizeof(fuse_in_header) + 16);
  CHECK_FALSE(drops(cut));
  cut.resize(8);
  CHECK_FALSE(drops(cut));
  CHECK_FALSE(drops({}));
}

TEST_CASE("The answer to INIT takes over the set-id bits where the kernel offers it, and only that answer") {
  const auto offered = init_that_offers(FUSE_HANDLE_KILLPRIV_V2 | FUSE_SPLICE_READ);
  CHECK(completed(offered, FUSE_WRITEBACK_CACHE) == (FUSE_WRITEBACK_CACHE | FUSE_HANDLE_KILLPRIV_V2));
  CHECK(completed(init_that_offers(FUSE_SPLICE_READ), FUSE_WRITEBACK_CACHE) == FUSE_WRITEBACK_CACHE);
  CHECK(completed(offered, 0, 8) == 0);
  CHECK(completed(offered, 0, 7, -71) == 0);
  fuse_init_in offer{};
  offer.flags = FUSE_HANDLE_KILLPRIV_V2;
  CHECK(completed(request(FUSE_GETATTR, offer), 0) == 0);
}
