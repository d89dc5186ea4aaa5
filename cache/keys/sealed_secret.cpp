#include "cache/keys/sealed_secret.h"

#include <sodium.h>

#include <array>

#include "engine/base/codec.h"

namespace atl {

namespace {

// epoch of the key | nonce | sealed secret and tag
constexpr std::size_t head_bytes = 4 + crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
static_assert(sealed_secret_bytes == head_bytes + SecretKey::size + crypto_aead_xchacha20poly1305_ietf_ABYTES);

Bytes associated_with(SecretKind kind, const VolumeId& volume, ByteView head) {
  Bytes bytes;
  Encoder encoder(bytes);
  encoder.raw(as_bytes(kind.title));
  encoder.id(volume);
  encoder.raw(head.first(4));
  return bytes;
}

}  // namespace

Result<Bytes> seal_secret(const SecretKey& secret, SecretKind kind, const Keyring& keyring, Random& random) {
  const auto key = keyring.derive(keyring.current(), static_cast<KeyPurpose>(kind.purpose));
  if (!key) return fail(key.error());
  Bytes out;
  Encoder(out).u32(keyring.current().value);
  out.resize(sealed_secret_bytes);
  random.fill(MutableBytes(out).subspan(4, head_bytes - 4));
  const Bytes associated = associated_with(kind, keyring.volume(), out);
  crypto_aead_xchacha20poly1305_ietf_encrypt(out.data() + head_bytes, nullptr, secret.data(), SecretKey::size, associated.data(),
                                             associated.size(), nullptr, out.data() + 4, key->data());
  return out;
}

Result<SecretKey> open_secret(ByteView sealed, SecretKind kind, const Keyring& keyring) {
  if (sealed.size() != sealed_secret_bytes) return fail(Code::corrupt, "it has a wrong length");
  Decoder decoder(sealed);
  const auto key = keyring.derive(KeyEpoch{decoder.u32()}, static_cast<KeyPurpose>(kind.purpose));
  if (!key) return fail(key.error());
  const Bytes associated = associated_with(kind, keyring.volume(), sealed);
  std::array<std::uint8_t, SecretKey::size> plain;
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(plain.data(), nullptr, nullptr, sealed.data() + head_bytes, sealed.size() - head_bytes,
                                                 associated.data(), associated.size(), sealed.data() + 4, key->data()) != 0)
    return fail(Code::corrupt, "its seal is broken");
  SecretKey secret = SecretKey::from(plain);
  sodium_memzero(plain.data(), plain.size());
  return secret;
}

}  // namespace atl
