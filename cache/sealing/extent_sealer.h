// Authenticated encryption of extents: XChaCha20-Poly1305-IETF exactly as libsodium defines it, random 192-bit nonces.
//
// Sealed form: nonce (24) | ciphertext (length) | tag (16). Associated data: FORMAT.md, "Sealed extent". The bytes are
// computed by HChaCha20 (libsodium) with ChaCha20-Poly1305 (OpenSSL), which is faster; a test pins the two together.
// Thread-safe.
#pragma once

#include <cstdint>
#include <memory>

#include "cache/keys/keyring.h"
#include "engine/base/bytes.h"
#include "engine/base/ids.h"
#include "engine/base/random.h"
#include "engine/base/result.h"

namespace atl {

/// Where an extent belongs; sealed bytes open only with the same context.
struct ExtentContext {
  VolumeId volume;
  KeyEpoch epoch;
  ExtentId extent;
  std::uint32_t length = 0;  // plain bytes, 1..extent_bytes_max
};

inline constexpr std::uint32_t extent_bytes_max = 128 * 1024;
inline constexpr std::uint32_t seal_overhead_bytes = 24 + 16;

class ExtentSealer {
 public:
  /// `key` is the content key of one epoch.
  ExtentSealer(const SecretKey& key, Random& random);
  ~ExtentSealer();

  /// Writes plain.size() + seal_overhead_bytes to `out`; plain.size() == context.length.
  void seal(const ExtentContext& context, ByteView plain, MutableBytes out) const;
  /// Writes context.length bytes to `out`. Code::corrupt if the bytes are not what was sealed for this context; `out`
  /// is then zeroed.
  Result<> open(const ExtentContext& context, ByteView sealed, MutableBytes out) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace atl
