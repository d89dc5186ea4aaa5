#include "cache/keys/keyring.h"

#include <sodium.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <new>
#include <stdexcept>
#include <utility>

#include "cache/keys/paper.h"
#include "engine/base/codec.h"
#include "engine/base/mutant.h"

namespace atl {

namespace {

// FORMAT.md, "Wrapped keyring".
constexpr std::string_view magic = "atollkey";
constexpr std::uint8_t format_number = 1;
constexpr std::uint8_t suite_xchacha20_poly1305 = 1;
constexpr std::size_t commitment_bytes = 32;
constexpr std::size_t check_bytes = 8;
constexpr std::size_t nonce_bytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr std::size_t tag_bytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;
constexpr std::size_t bound_bytes = 8 + 1 + 1 + VolumeId::size + commitment_bytes;  // what the tag covers as well
constexpr std::size_t fixed_bytes = bound_bytes + nonce_bytes + tag_bytes + check_bytes;
constexpr std::size_t epochs_max = 65535;

constexpr char purpose_context[] = "atollkey";  // crypto_kdf contexts are 8 characters
constexpr char wrapping_context[] = "atollwrp";
constexpr std::uint64_t wrapping_commitment = 1;
constexpr std::uint64_t wrapping_encryption = 2;

void start_sodium() {
  static const bool started = [] {
    if (sodium_init() < 0) throw std::runtime_error("libsodium could not be initialised");
    return true;
  }();
  (void)started;
}

SecretKey subkey(const SecretKey& key, std::uint64_t id, const char* context) {
  std::array<std::uint8_t, SecretKey::size> bytes;
  crypto_kdf_derive_from_key(bytes.data(), bytes.size(), id, context, key.data());
  SecretKey result = SecretKey::from(bytes);
  sodium_memzero(bytes.data(), bytes.size());
  return result;
}

// Poly1305 AEADs can be made to open under two keys; this hash cannot.
std::array<std::uint8_t, commitment_bytes> commitment_of(const SecretKey& wrapping, const VolumeId& volume,
                                                         ByteView nonce) {
  const SecretKey key = subkey(wrapping, wrapping_commitment, wrapping_context);
  std::array<std::uint8_t, commitment_bytes> result;
  crypto_generichash_state state;
  crypto_generichash_init(&state, key.data(), SecretKey::size, result.size());
  crypto_generichash_update(&state, volume.bytes.data(), volume.bytes.size());
  crypto_generichash_update(&state, nonce.data(), nonce.size());
  crypto_generichash_final(&state, result.data(), result.size());
  return result;
}

// Tells a damaged file or a mistyped kit from a wrong key; no defence against anyone.
std::array<std::uint8_t, check_bytes> check_of(ByteView bytes) {
  std::array<std::uint8_t, crypto_generichash_BYTES> hash;
  crypto_generichash(hash.data(), hash.size(), bytes.data(), bytes.size(), nullptr, 0);
  std::array<std::uint8_t, check_bytes> result;
  std::memcpy(result.data(), hash.data(), result.size());
  return result;
}

}  // namespace

Keyring Keyring::generate(Random& random) {
  Keyring keyring;
  keyring.volume_ = random.id<VolumeId>();
  keyring.masters_.push_back(std::make_shared<const SecretKey>(SecretKey::random(random)));
  return keyring;
}

KeyEpoch Keyring::current() const {
  return KeyEpoch(static_cast<std::uint32_t>(masters_.size()));
}

bool Keyring::has(KeyEpoch epoch) const {
  return epoch.value >= 1 && epoch.value <= masters_.size();
}

Result<SecretKey> Keyring::derive(KeyEpoch epoch, KeyPurpose purpose) const {
  if (!has(epoch))
    return fail(Code::key, "the keyring has no key epoch " + std::to_string(epoch.value),
                "the keys were rotated elsewhere; open the drive with the recovery key");
  return subkey(*masters_[epoch.value - 1], static_cast<std::uint64_t>(purpose), purpose_context);
}

Keyring Keyring::rotated(Random& random) const {
  assert(masters_.size() < epochs_max);
  Keyring next = *this;
  next.masters_.push_back(std::make_shared<const SecretKey>(SecretKey::random(random)));
  return next;
}

Bytes Keyring::wrap(const SecretKey& wrapping, Random& random) const {
  std::array<std::uint8_t, nonce_bytes> nonce;
  random.fill(nonce);

  Bytes out;
  Encoder encoder(out);
  encoder.raw(as_bytes(magic));
  encoder.u8(format_number);
  encoder.u8(suite_xchacha20_poly1305);
  encoder.id(volume_);
  encoder.raw(commitment_of(wrapping, volume_, nonce));
  assert(out.size() == bound_bytes);
  encoder.raw(nonce);

  // The masters go from guarded memory to guarded memory: encryption is in place of a guarded copy.
  const std::size_t plain_bytes = masters_.size() * SecretKey::size;
  const std::unique_ptr<std::uint8_t, void (*)(void*)> plain(static_cast<std::uint8_t*>(sodium_malloc(plain_bytes)),
                                                             sodium_free);
  if (!plain) throw std::bad_alloc();
  for (std::size_t i = 0; i < masters_.size(); ++i)
    std::memcpy(plain.get() + i * SecretKey::size, masters_[i]->data(), SecretKey::size);

  const std::size_t at = out.size();
  out.resize(at + plain_bytes + tag_bytes);
  const SecretKey key = subkey(wrapping, wrapping_encryption, wrapping_context);
  crypto_aead_xchacha20poly1305_ietf_encrypt(out.data() + at, nullptr, plain.get(), plain_bytes, out.data(),
                                             bound_bytes, nullptr, nonce.data(), key.data());
  Encoder(out).raw(check_of(out));
  return out;
}

Bytes keyring_for_paper(ByteView wrapped) {
  static_assert(wrapped_keyring_bytes_min == fixed_bytes + SecretKey::size);
  assert(wrapped.size() >= wrapped_keyring_bytes_min);
  const ByteView paper = wrapped.subspan(bound_bytes, wrapped.size() - bound_bytes - check_bytes);
  return {paper.begin(), paper.end()};
}

Result<Bytes> keyring_from_paper(ByteView paper, const VolumeId& volume, const SecretKey& wrapping) {
  constexpr std::size_t least = nonce_bytes + SecretKey::size + tag_bytes;
  if (paper.size() < least || (paper.size() - least) % SecretKey::size != 0)
    return fail(Code::corrupt, "the keyring has a wrong number of digits", "compare it with the paper");
  Bytes out;
  Encoder encoder(out);
  encoder.raw(as_bytes(magic));
  encoder.u8(format_number);
  encoder.u8(suite_xchacha20_poly1305);
  encoder.id(volume);
  encoder.raw(commitment_of(wrapping, volume, paper.first(nonce_bytes)));
  encoder.raw(paper);
  Encoder(out).raw(check_of(out));
  return out;
}

Result<Keyring> Keyring::unwrap(ByteView wrapped, const SecretKey& wrapping) {
  const auto damaged = [](std::string_view how) {
    return fail(Code::corrupt, "the wrapped keyring is damaged: " + std::string(how),
                "restore it from a copy, or use the recovery kit");
  };
  if (wrapped.size() < magic.size() + 1 || as_text(wrapped.first(magic.size())) != magic)
    return damaged("it does not begin as one");
  const std::uint8_t format = wrapped[magic.size()];
  if (format > format_number)
    return fail(Code::newer_format,
                "the wrapped keyring has format " + std::to_string(format) + "; this version reads up to " +
                    std::to_string(format_number),
                "use a newer version of atoll");
  if (format == 0) return damaged("format 0 does not exist");
  if (wrapped.size() < fixed_bytes + SecretKey::size || (wrapped.size() - fixed_bytes) % SecretKey::size != 0 ||
      (wrapped.size() - fixed_bytes) / SecretKey::size > epochs_max)
    return damaged("its length is wrong");

  const ByteView checked = wrapped.first(wrapped.size() - check_bytes);
  if (!std::ranges::equal(check_of(checked), wrapped.last(check_bytes))) return damaged("its checksum does not fit");

  Decoder decoder(wrapped.subspan(magic.size() + 1));
  const std::uint8_t suite = decoder.u8();
  if (suite != suite_xchacha20_poly1305) return damaged("cipher suite " + std::to_string(suite) + " does not exist");
  Keyring keyring;
  keyring.volume_ = decoder.id<VolumeId>();
  const ByteView commitment = decoder.raw(commitment_bytes);
  const ByteView nonce = decoder.raw(nonce_bytes);
  const ByteView sealed = decoder.raw(decoder.remaining() - check_bytes);

  const auto expected = commitment_of(wrapping, keyring.volume_, nonce);
  if (sodium_memcmp(expected.data(), commitment.data(), commitment_bytes) != 0)
    return fail(Code::key, "the key does not fit this drive's keyring", "check the passphrase or the recovery words");

  const std::size_t plain_bytes = sealed.size() - tag_bytes;
  const std::unique_ptr<std::uint8_t, void (*)(void*)> plain(static_cast<std::uint8_t*>(sodium_malloc(plain_bytes)),
                                                             sodium_free);
  if (!plain) throw std::bad_alloc();
  const SecretKey key = subkey(wrapping, wrapping_encryption, wrapping_context);
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(plain.get(), nullptr, nullptr, sealed.data(), sealed.size(),
                                                 wrapped.data(), bound_bytes, nonce.data(), key.data()) != 0)
    return damaged("its seal is broken");
  for (std::size_t at = 0; at < plain_bytes; at += SecretKey::size)
    keyring.masters_.push_back(std::make_shared<const SecretKey>(SecretKey::from({plain.get() + at, SecretKey::size})));
  return keyring;
}

PassphraseParameters PassphraseParameters::moderate(Random& random) {
  PassphraseParameters parameters;
  static_assert(crypto_pwhash_SALTBYTES == sizeof parameters.salt);
  random.fill(parameters.salt);
  parameters.operations = crypto_pwhash_OPSLIMIT_MODERATE;
  parameters.memory_bytes = crypto_pwhash_MEMLIMIT_MODERATE;
  return parameters;
}

Result<SecretKey> key_from_passphrase(std::string_view passphrase, const PassphraseParameters& parameters) {
  constexpr std::uint64_t operations_max = 64;  // minutes of work: more is damage or mischief, never a choice of ours
  constexpr std::uint64_t memory_bytes_max = 64ull << 30;
  start_sodium();
  if (passphrase.empty())
    return fail(Code::key, "the passphrase is empty", "give the passphrase that was chosen at init");
  if ((parameters.operations < crypto_pwhash_OPSLIMIT_MODERATE ||
       parameters.memory_bytes < crypto_pwhash_MEMLIMIT_MODERATE) &&
      !mutant("passphrase-weakened"))
    return fail(Code::key, "the stored passphrase parameters are weaker than this version allows",
                "someone may have changed the volume file; restore it, or use the recovery kit");
  if (parameters.operations > operations_max || parameters.memory_bytes > memory_bytes_max)
    return fail(Code::key, "the stored passphrase parameters ask for absurd work",
                "someone may have changed the volume file; restore it, or use the recovery kit");
  std::array<std::uint8_t, SecretKey::size> bytes;
  if (crypto_pwhash(bytes.data(), bytes.size(), passphrase.data(), passphrase.size(), parameters.salt.data(),
                    parameters.operations, parameters.memory_bytes, crypto_pwhash_ALG_ARGON2ID13) != 0)
    return fail(Code::no_space,
                "the passphrase could not be checked: " + human_bytes(parameters.memory_bytes) +
                    " of memory are needed for a moment",
                "close other programs and try again");
  SecretKey key = SecretKey::from(bytes);
  sodium_memzero(bytes.data(), bytes.size());
  return key;
}

}  // namespace atl
