#include "engine/base/bytes.h"

#include <rapidcheck.h>

#include <catch2/catch.hpp>

using namespace atl;

TEST_CASE("Hexadecimal text gives back the bytes it was made of, in either case") {
  CHECK(rc::check([](const Bytes& bytes) {
    std::string text = to_hex(bytes);
    RC_ASSERT(text.size() == bytes.size() * 2);
    RC_ASSERT(from_hex(text) == bytes);
    for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    RC_ASSERT(from_hex(text) == bytes);
  }));
  CHECK(to_hex(Bytes{0x00, 0x9f, 0xff}) == "009fff");
  for (const char* text : {"0", "0g", "-1", "0x", " 0"}) CHECK(from_hex(text).error().code == Code::invalid);
}

TEST_CASE("Sizes are read as people write them") {
  CHECK(parse_bytes("0") == 0u);
  CHECK(parse_bytes("64") == 64u);
  CHECK(parse_bytes("64B") == 64u);
  CHECK(parse_bytes("64k") == 65536u);
  CHECK(parse_bytes("64 KiB") == 65536u);
  CHECK(parse_bytes("1.5G") == 1610612736u);
  CHECK(parse_bytes("2TB") == 2199023255552u);
  for (const char* text : {"", "x", "-1", "1Q", "1KiBs", "nan", "inf", "1e400", "99E", "K"})
    CHECK(parse_bytes(text).error().code == Code::invalid);
}

TEST_CASE("Sizes are shown in the unit that a person would choose") {
  CHECK(human_bytes(0) == "0 B");
  CHECK(human_bytes(1023) == "1023 B");
  CHECK(human_bytes(1536) == "1.5 KiB");
  CHECK(human_bytes(std::uint64_t{512} << 20) == "512 MiB");
  CHECK(human_bytes(~std::uint64_t{0}) == "16.0 EiB");
}
