// The keys of a drive: one random keyring, wrapped by the recovery key and by this machine's local key.
//
// A keyring holds one 32-byte master secret per key epoch; every key in use is derived from one for one purpose
// (libsodium crypto_kdf, BLAKE2b). Secrets live in sodium_malloc memory, compare in constant time and cannot be
// streamed or copied by accident. Immutable once made; thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/ids.h"
#include "engine/base/random.h"
#include "engine/base/result.h"

namespace atl {

/// 32 secret bytes in guarded memory, wiped when destroyed. Movable, not copyable.
class SecretKey {
 public:
  static constexpr std::size_t size = 32;

  SecretKey();  // zeros
  static SecretKey random(Random& random);
  static SecretKey from(ByteView bytes);  // exactly 32
  SecretKey(SecretKey&&) noexcept;
  SecretKey& operator=(SecretKey&&) noexcept;
  ~SecretKey();

  SecretKey clone() const;
  const std::uint8_t* data() const { return bytes_; }
  ByteView view() const { return {bytes_, size}; }
  bool equals(const SecretKey& other) const;  // constant time

 private:
  std::uint8_t* bytes_;
};

/// What a derived key is for. The value is part of the format: never reuse one.
enum class KeyPurpose : std::uint64_t {
  content = 1,      // extents
  journal = 2,      // the journal's hash chain, and its sealing on nodes
  shard_mac = 3,    // leaves of shards
  object_name = 4,  // names on nodes
  signing = 5,      // Ed25519 seed of heads
  node_account = 6,
  commitment = 7,  // published hash that pins the key before anything is opened with it
  frame_header = 8,
};

class Keyring {
 public:
  static Keyring generate(Random& random);  // a new volume, key epoch 1

  const VolumeId& volume() const { return volume_; }
  KeyEpoch current() const;
  bool has(KeyEpoch epoch) const;
  /// The key for a purpose under an epoch. Code::key if the keyring does not know the epoch.
  Result<SecretKey> derive(KeyEpoch epoch, KeyPurpose purpose) const;
  /// The same keyring with one more epoch, which becomes current.
  Keyring rotated(Random& random) const;

  /// The keyring sealed under `wrapping` (commitment first, then XChaCha20-Poly1305 bound to the volume).
  Bytes wrap(const SecretKey& wrapping, Random& random) const;
  /// Code::key if the key does not fit (told by the commitment, before anything is decrypted), corrupt if it fits
  /// and the bytes are damaged, newer_format.
  static Result<Keyring> unwrap(ByteView wrapped, const SecretKey& wrapping);

 private:
  Keyring() = default;
  VolumeId volume_;
  std::vector<std::shared_ptr<const SecretKey>> masters_;  // [0] is epoch 1
};

/// Argon2id parameters as stored beside a wrapped key. Never below libsodium's MODERATE; weaker stored ones are
/// refused.
struct PassphraseParameters {
  std::array<std::uint8_t, 16> salt{};
  std::uint64_t operations = 0;
  std::uint64_t memory_bytes = 0;

  static PassphraseParameters moderate(Random& random);
};

/// The key that a passphrase stands for. Takes about a second and 256 MiB. Code::key for an empty passphrase or
/// parameters weaker than MODERATE, no_space if memory is short.
Result<SecretKey> key_from_passphrase(std::string_view passphrase, const PassphraseParameters& parameters);

/// A recovery key as words for paper: 24 words of 11 bits from a fixed list of 2,048 (256 bits of key and an 8-bit
/// checksum), groups of four a line.
std::string recovery_words(const SecretKey& key);
/// Reads words (any white space, any case, numbering like "12." ignored). Code::key naming the position of a word that
/// is not in the list, with the nearest one, or a checksum that does not fit.
Result<SecretKey> parse_recovery_words(std::string_view text);

}  // namespace atl
