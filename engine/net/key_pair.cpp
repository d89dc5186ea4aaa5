#include "engine/net/key_pair.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <stdexcept>

namespace atl {

namespace {

// The DER of a SubjectPublicKeyInfo (RFC 8410) is this, then the 32 bytes of the key.
constexpr std::uint8_t spki_prefix[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};

struct ContextFree {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_MD_CTX, ContextFree>;

}  // namespace

KeyId key_id(const PublicKey& key) {
  std::array<std::uint8_t, sizeof spki_prefix + PublicKey::size> der;
  std::memcpy(der.data(), spki_prefix, sizeof spki_prefix);
  std::memcpy(der.data() + sizeof spki_prefix, key.bytes.data(), PublicKey::size);
  KeyId id;
  SHA256(der.data(), der.size(), id.bytes.data());
  return id;
}

bool verify_signature(const PublicKey& key, ByteView message, const Signature& signature) {
  const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> handle(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.bytes.data(), PublicKey::size), EVP_PKEY_free);
  const Context context(EVP_MD_CTX_new());
  return handle && context && EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, handle.get()) == 1 &&
         EVP_DigestVerify(context.get(), signature.bytes.data(), Signature::size, message.data(), message.size()) == 1;
}

KeyPair KeyPair::generate(Random& random) {
  auto seed = random.id<KeySeed>();
  KeyPair pair = from_seed(seed);
  wipe(seed);
  return pair;
}

KeyPair KeyPair::from_seed(const KeySeed& seed) {
  std::shared_ptr<EVP_PKEY> key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.bytes.data(), KeySeed::size),
                                EVP_PKEY_free);
  PublicKey public_half;
  std::size_t size = PublicKey::size;
  if (!key || EVP_PKEY_get_raw_public_key(key.get(), public_half.bytes.data(), &size) != 1 || size != PublicKey::size)
    throw std::runtime_error("OpenSSL offers no Ed25519");
  return KeyPair(std::move(key), public_half);
}

Signature KeyPair::sign(ByteView message) const {
  Signature signature;
  std::size_t size = Signature::size;
  const Context context(EVP_MD_CTX_new());
  if (!context ||
      EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, static_cast<EVP_PKEY*>(key_.get())) != 1 ||
      EVP_DigestSign(context.get(), signature.bytes.data(), &size, message.data(), message.size()) != 1)
    throw std::runtime_error("OpenSSL could not sign");
  return signature;
}

void wipe(KeySeed& seed) { OPENSSL_cleanse(seed.bytes.data(), KeySeed::size); }

}  // namespace atl
