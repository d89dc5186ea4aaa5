// Laws of sealed extents: what was sealed opens, only at its place, and the bytes are libsodium's own.
#include "cache/sealing/extent_sealer.h"

#include <rapidcheck.h>
#include <sodium.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "engine/base/codec.h"

namespace atl {
namespace {

const auto volume_gen = [] { return SystemRandom().id<VolumeId>(); };

ExtentContext some_context(std::uint32_t length) {
  return {volume_gen(), KeyEpoch(*rc::gen::inRange<std::uint32_t>(1, 10)),
          ExtentId(*rc::gen::arbitrary<std::uint64_t>()), length};
}

Bytes some_bytes(std::size_t count) {
  Bytes bytes(count);
  SystemRandom().fill(bytes);
  return bytes;
}

/// FORMAT.md's words for the associated data, written once more.
Bytes associated_data(const ExtentContext& context) {
  Bytes out;
  Encoder encoder(out);
  encoder.raw(as_bytes("atoll-extent"));
  encoder.u8(1);
  encoder.u8(1);
  encoder.raw(context.volume.view());
  encoder.u32(context.epoch.value);
  encoder.u64(context.extent.value);
  encoder.u32(context.length);
  return out;
}

std::uint32_t some_length() {
  return *rc::gen::weightedOneOf<std::uint32_t>({{4, rc::gen::inRange<std::uint32_t>(1, 700)},
                                                 {1, rc::gen::inRange<std::uint32_t>(1, extent_bytes_max + 1)},
                                                 {1, rc::gen::element<std::uint32_t>(1, 4096, extent_bytes_max)}});
}

}  // namespace

TEST_CASE("an extent that was sealed opens to the same bytes") {
  SystemRandom random;
  const SecretKey key = SecretKey::random(random);
  const ExtentSealer sealer(key, random);
  CHECK(rc::check([&] {
    const ExtentContext context = some_context(some_length());
    const Bytes plain = some_bytes(context.length);
    Bytes sealed(plain.size() + seal_overhead_bytes);
    sealer.seal(context, plain, sealed);
    Bytes opened(plain.size());
    RC_ASSERT(sealer.open(context, sealed, opened).has_value());
    RC_ASSERT(opened == plain);
  }));
}

TEST_CASE("libsodium opens what the sealer sealed, and the sealer opens what libsodium sealed") {
  SystemRandom random;
  const SecretKey key = SecretKey::random(random);
  const ExtentSealer sealer(key, random);
  CHECK(rc::check([&] {
    const ExtentContext context = some_context(some_length());
    const Bytes plain = some_bytes(context.length);
    const Bytes associated = associated_data(context);
    Bytes sealed(plain.size() + seal_overhead_bytes);
    sealer.seal(context, plain, sealed);

    Bytes by_sodium(plain.size() + 16);
    crypto_aead_xchacha20poly1305_ietf_encrypt(by_sodium.data(), nullptr, plain.data(), plain.size(), associated.data(),
                                               associated.size(), nullptr, sealed.data(), key.data());
    RC_ASSERT(std::equal(by_sodium.begin(), by_sodium.end(), sealed.begin() + 24, sealed.end()));

    Bytes other = some_bytes(24);
    other.resize(sealed.size());
    crypto_aead_xchacha20poly1305_ietf_encrypt(other.data() + 24, nullptr, plain.data(), plain.size(),
                                               associated.data(), associated.size(), nullptr, other.data(), key.data());
    Bytes opened(plain.size());
    RC_ASSERT(sealer.open(context, other, opened).has_value());
    RC_ASSERT(opened == plain);
  }));
}

TEST_CASE("a flipped bit anywhere in a sealed extent is refused and leaves no plain bytes behind") {
  SystemRandom random;
  const ExtentSealer sealer(SecretKey::random(random), random);
  const ExtentContext context{random.id<VolumeId>(), KeyEpoch(1), ExtentId(7), 48};
  const Bytes plain(48, 0x5a);
  Bytes sealed(plain.size() + seal_overhead_bytes);
  sealer.seal(context, plain, sealed);
  for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    Bytes changed = sealed;
    changed[bit / 8] = static_cast<std::uint8_t>(changed[bit / 8] ^ (1u << bit % 8));
    Bytes opened(plain.size(), 0x77);
    const auto result = sealer.open(context, changed, opened);
    REQUIRE_FALSE(result.has_value());
    REQUIRE(result.error().code == Code::corrupt);
    REQUIRE(std::ranges::all_of(opened, [](std::uint8_t byte) { return byte == 0; }));
  }
}

TEST_CASE("an extent does not open at another place, under another key or at another length") {
  SystemRandom random;
  const ExtentSealer sealer(SecretKey::random(random), random);
  CHECK(rc::check([&] {
    const ExtentContext context = some_context(*rc::gen::inRange<std::uint32_t>(2, 5000));
    const Bytes plain = some_bytes(context.length);
    Bytes sealed(plain.size() + seal_overhead_bytes);
    sealer.seal(context, plain, sealed);
    const auto refused = [](const ExtentSealer& by, const ExtentContext& where, ByteView bytes) {
      Bytes opened(where.length);
      const auto result = by.open(where, bytes, opened);
      return !result && result.error().code == Code::corrupt;
    };
    ExtentContext other = context;
    const std::size_t bit = *rc::gen::inRange<std::size_t>(0, 128);
    other.volume.bytes[bit / 8] = static_cast<std::uint8_t>(other.volume.bytes[bit / 8] ^ (1u << bit % 8));
    RC_ASSERT(refused(sealer, other, sealed));
    other = context;
    other.epoch.value ^= 1u << *rc::gen::inRange(0, 32);
    RC_ASSERT(refused(sealer, other, sealed));
    other = context;
    other.extent.value ^= std::uint64_t{1} << *rc::gen::inRange(0, 64);
    RC_ASSERT(refused(sealer, other, sealed));
    other = context;
    other.length -= 1;
    RC_ASSERT(refused(sealer, other, sealed));
    RC_ASSERT(refused(sealer, other, ByteView(sealed).first(sealed.size() - 1)));
    RC_ASSERT(refused(sealer, context, ByteView(sealed).first(sealed.size() - 1)));
    RC_ASSERT(refused(ExtentSealer(SecretKey::random(random), random), context, sealed));
  }));
}

TEST_CASE("sealing the same bytes twice shows nothing of it") {
  SystemRandom random;
  const ExtentSealer sealer(SecretKey::random(random), random);
  const ExtentContext context{random.id<VolumeId>(), KeyEpoch(1), ExtentId(7), 4096};
  const Bytes plain(4096, 1);
  Bytes one(plain.size() + seal_overhead_bytes);
  Bytes two(one.size());
  sealer.seal(context, plain, one);
  sealer.seal(context, plain, two);
  CHECK_FALSE(std::equal(one.begin(), one.begin() + 24, two.begin()));
  CHECK_FALSE(std::equal(one.begin() + 24, one.end(), two.begin() + 24));
}

}  // namespace atl
