// Ed25519 keys: of nodes, accounts, devices and invites; and the ids that stand for their public halves.
//
// Values are immutable and free to share between threads. The private half lives inside OpenSSL, which wipes it when
// the last copy goes. Nothing here fails but for input that is no key: OpenSSL without Ed25519 throws.
#pragma once

#include <memory>

#include "engine/base/ids.h"
#include "engine/base/random.h"

namespace atl {

using PublicKey = StrongBytes<struct PublicKeyTag, 32>;
using KeyId = StrongBytes<struct KeyIdTag, 32>;  // SHA-256 of the key's SubjectPublicKeyInfo: what `curl --pinnedpubkey` takes
using KeySeed = StrongBytes<struct KeySeedTag, 32>;  // the private half as RFC 8032 has it; wiped by whoever holds one
using Signature = StrongBytes<struct SignatureTag, 64>;

KeyId key_id(const PublicKey& key);
bool verify_signature(const PublicKey& key, ByteView message, const Signature& signature);

class KeyPair {
 public:
  static KeyPair generate(Random& random);
  static KeyPair from_seed(const KeySeed& seed);

  const PublicKey& public_key() const { return public_; }
  KeyId id() const { return key_id(public_); }
  Signature sign(ByteView message) const;
  /// The EVP_PKEY, for engine/net alone.
  void* handle() const { return key_.get(); }

 private:
  KeyPair(std::shared_ptr<void> key, const PublicKey& public_half) : key_(std::move(key)), public_(public_half) {}

  std::shared_ptr<void> key_;
  PublicKey public_;
};

/// Overwrites a seed such that the compiler keeps it.
void wipe(KeySeed& seed);

}  // namespace atl
