#include "engine/base/codec.h"

#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <limits>

using namespace atl;

TEST_CASE("What is encoded is decoded to the same, and to its end") {
  CHECK(rc::check([](std::uint8_t a, std::uint16_t b, std::uint32_t c, std::uint64_t d, std::int64_t e, const Bytes& blob,
               const std::string& text) {
    Bytes out;
    Encoder encoder(out);
    encoder.u8(a);
    encoder.u16(b);
    encoder.u32(c);
    encoder.u64(d);
    encoder.varint(d);
    encoder.signed_varint(e);
    encoder.blob(blob);
    encoder.text(text);
    encoder.id(ExtentId(d));
    NodeId node;
    node.bytes[31] = a;
    encoder.id(node);
    Decoder decoder(out);
    RC_ASSERT(decoder.u8() == a);
    RC_ASSERT(decoder.u16() == b);
    RC_ASSERT(decoder.u32() == c);
    RC_ASSERT(decoder.u64() == d);
    RC_ASSERT(decoder.varint() == d);
    RC_ASSERT(decoder.signed_varint() == e);
    const ByteView view = decoder.blob();
    RC_ASSERT(Bytes(view.begin(), view.end()) == blob);
    RC_ASSERT(decoder.text() == text);
    RC_ASSERT(decoder.id<ExtentId>() == ExtentId(d));
    RC_ASSERT(decoder.id<NodeId>() == node);
    RC_ASSERT(decoder.done());
  }));
}

TEST_CASE("Numbers at the edges survive") {
  for (const std::int64_t value : {std::numeric_limits<std::int64_t>::min(), std::int64_t{-1}, std::int64_t{0},
                                   std::int64_t{1}, std::numeric_limits<std::int64_t>::max()}) {
    Bytes out;
    Encoder(out).signed_varint(value);
    CHECK(out.size() <= 10);
    CHECK(Decoder(out).signed_varint() == value);
  }
  for (unsigned bit = 0; bit < 64; ++bit) {
    for (const std::uint64_t value : {std::uint64_t{1} << bit, (std::uint64_t{1} << bit) - 1}) {
      Bytes out;
      Encoder(out).varint(value);
      Decoder decoder(out);
      CHECK(decoder.varint() == value);
      CHECK(decoder.done());
    }
  }
}

TEST_CASE("Bytes that were cut short anywhere are known to be") {
  Bytes out;
  Encoder encoder(out);
  encoder.u32(7);
  encoder.varint(1u << 20);
  encoder.blob(Bytes(5, 1));
  encoder.u64(9);
  for (std::size_t length = 0; length < out.size(); ++length) {
    Decoder decoder(ByteView(out).first(length));
    (void)decoder.u32();
    (void)decoder.varint();
    (void)decoder.blob();
    CHECK(decoder.u64() == 0);
    CHECK_FALSE(decoder.ok());
    CHECK_FALSE(decoder.done());
  }
}

TEST_CASE("Any bytes at all are read without a fault of ours, and nothing is read after the first of theirs") {
  CHECK(rc::check([](const Bytes& bytes, const std::vector<std::uint8_t>& steps) {
    Decoder decoder(bytes);
    for (const std::uint8_t step : steps) {
      const bool before = decoder.ok();
      std::uint64_t value = 0;
      switch (step % 6) {
        case 0: value = decoder.u8(); break;
        case 1: value = decoder.u64(); break;
        case 2: value = decoder.varint(); break;
        case 3: value = decoder.blob().size(); break;
        case 4: value = decoder.id<ShardIndex>().value; break;
        case 5: value = decoder.raw(step).size(); break;
      }
      if (!before) RC_ASSERT(value == 0);
      if (!before) RC_ASSERT(!decoder.ok());
      RC_ASSERT(decoder.position() + decoder.remaining() == bytes.size());
    }
  }));
}

TEST_CASE("A number too large for its place is a fault, not another number") {
  const Bytes overlong(10, 0xff);
  Decoder decoder(overlong);
  CHECK(decoder.varint() == 0);
  CHECK_FALSE(decoder.ok());
  Bytes out;
  Encoder(out).varint(256);
  Decoder narrow(out);
  (void)narrow.id<ShardIndex>();
  CHECK_FALSE(narrow.ok());
}
