#include <openssl/evp.h>
#include <sodium.h>

#include <array>
#include <cassert>
#include <cstring>
#include <new>
#include <stdexcept>

#include "cache/erasure/attempt_macs.h"
#include "engine/base/mutant.h"

namespace atl {

namespace {

// OpenSSL's Poly1305 has vector code that libsodium's lacks; the MAC is the same. One context a thread, used again.
class Poly1305 {
 public:
  Poly1305() : context_(EVP_MAC_CTX_new(algorithm())) {
    if (context_ == nullptr) throw std::bad_alloc();
  }
  ~Poly1305() { EVP_MAC_CTX_free(context_); }
  Poly1305(const Poly1305&) = delete;
  Poly1305& operator=(const Poly1305&) = delete;

  static EVP_MAC* algorithm() {
    static EVP_MAC* const fetched = [] {
      EVP_MAC* mac = EVP_MAC_fetch(nullptr, "POLY1305", nullptr);
      if (mac == nullptr) throw std::runtime_error("OpenSSL offers no Poly1305");
      return mac;
    }();
    return fetched;
  }

  void compute(const std::uint8_t* one_time_key, ByteView message, std::uint8_t* mac) {
    std::size_t count = 0;
    if (EVP_MAC_init(context_, one_time_key, crypto_onetimeauth_poly1305_KEYBYTES, nullptr) != 1 ||
        EVP_MAC_update(context_, message.data(), message.size()) != 1 ||
        EVP_MAC_final(context_, mac, &count, leaf_mac_bytes) != 1)
      throw std::runtime_error("OpenSSL could not compute Poly1305");
  }

 private:
  EVP_MAC_CTX* context_;
};

}  // namespace

SecretKey AttemptMacs::key_of(const SecretKey& shard_mac_key, const VolumeId& volume, const AttemptId& attempt) {
  constexpr std::string_view domain = "leaf-mac";
  std::array<std::uint8_t, SecretKey::size> bytes;
  crypto_generichash_state state;
  crypto_generichash_init(&state, shard_mac_key.data(), SecretKey::size, bytes.size());
  crypto_generichash_update(&state, as_bytes(domain).data(), domain.size());
  crypto_generichash_update(&state, volume.bytes.data(), volume.bytes.size());
  crypto_generichash_update(&state, attempt.bytes.data(), attempt.bytes.size());
  crypto_generichash_final(&state, bytes.data(), bytes.size());
  SecretKey key = SecretKey::from(bytes);
  sodium_memzero(bytes.data(), bytes.size());
  return key;
}

AttemptMacs::AttemptMacs(SecretKey attempt_key) : key_(std::move(attempt_key)) { Poly1305::algorithm(); }

void AttemptMacs::compute(ShardIndex shard, std::uint32_t leaf, ByteView payload, std::span<std::uint8_t, leaf_mac_bytes> mac) const {
  thread_local Poly1305 poly1305;
  // HChaCha20 is a pseudo-random function of its 16-byte input: a fresh 32-byte key for each (shard, leaf), as Poly1305
  // demands. An attempt's leaves never change, so that no key ever authenticates two contents.
  std::array<std::uint8_t, crypto_core_hchacha20_INPUTBYTES> place{};
  place[0] = mutant("leaf-mac-any-shard") ? std::uint8_t{0} : shard.value;
  for (std::size_t i = 0; i < 4; ++i) place[4 + i] = static_cast<std::uint8_t>(leaf >> (8 * i));
  std::array<std::uint8_t, crypto_core_hchacha20_OUTPUTBYTES> key;
  crypto_core_hchacha20(key.data(), place.data(), key_.data(), nullptr);
  poly1305.compute(key.data(), payload, mac.data());
  sodium_memzero(key.data(), key.size());
}

bool AttemptMacs::verify(ShardIndex shard, std::uint32_t first_leaf, std::uint32_t count, ByteView answer) const {
  constexpr std::size_t step = leaf_bytes + leaf_mac_bytes;
  if (answer.size() != std::size_t{count} * step) return false;
  for (std::uint32_t i = 0; i < count; ++i) {
    std::array<std::uint8_t, leaf_mac_bytes> mac;
    compute(shard, first_leaf + i, answer.subspan(i * step, leaf_bytes), mac);
    const std::size_t compared = mutant("leaf-mac-short") ? 4 : mac.size();
    if (sodium_memcmp(mac.data(), answer.data() + i * step + leaf_bytes, compared) != 0) return false;
  }
  return true;
}

struct LeafMacs::State {
  AttemptMacs macs;
};

LeafMacs::LeafMacs(const SecretKey& shard_mac_key, const VolumeId& volume, const AttemptId& attempt)
    : state_(std::make_unique<State>(State{AttemptMacs(AttemptMacs::key_of(shard_mac_key, volume, attempt))})) {}
LeafMacs::~LeafMacs() = default;
LeafMacs::LeafMacs(LeafMacs&&) noexcept = default;
LeafMacs& LeafMacs::operator=(LeafMacs&&) noexcept = default;

void LeafMacs::compute(ShardIndex shard, std::uint32_t leaf, ByteView payload, std::span<std::uint8_t, leaf_mac_bytes> mac) const {
  state_->macs.compute(shard, leaf, payload, mac);
}

bool LeafMacs::verify(ShardIndex shard, std::uint32_t first_leaf, std::uint32_t count, ByteView answer) const {
  return state_->macs.verify(shard, first_leaf, count, answer);
}

Bytes strip_macs(ByteView answer) {
  constexpr std::size_t step = leaf_bytes + leaf_mac_bytes;
  assert(answer.size() % step == 0);
  Bytes leaves;
  leaves.reserve(answer.size() / step * leaf_bytes);
  for (std::size_t at = 0; at < answer.size(); at += step) {
    const ByteView leaf = answer.subspan(at, leaf_bytes);
    leaves.insert(leaves.end(), leaf.begin(), leaf.end());
  }
  return leaves;
}

}  // namespace atl
