#include "cache/sealing/extent_sealer.h"

#include <openssl/evp.h>
#include <sodium.h>

#include <array>
#include <cassert>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string_view>

#include "engine/base/mutant.h"

namespace atl {

namespace {

constexpr std::size_t nonce_bytes = 24;
constexpr std::size_t tag_bytes = 16;
static_assert(nonce_bytes + tag_bytes == seal_overhead_bytes);

// FORMAT.md, "Sealed extent".
constexpr std::string_view domain = "atoll-extent";
constexpr std::uint8_t format_number = 1;
constexpr std::uint8_t suite_xchacha20_poly1305 = 1;
constexpr std::size_t associated_bytes = domain.size() + 1 + 1 + VolumeId::size + 4 + 8 + 4;

std::array<std::uint8_t, associated_bytes> associated_data(const ExtentContext& context) {
  std::array<std::uint8_t, associated_bytes> out;
  std::uint8_t* at = out.data();
  const auto number = [&at](std::uint64_t value, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) *at++ = static_cast<std::uint8_t>(value >> (8 * i));
  };
  std::memcpy(at, domain.data(), domain.size());
  at += domain.size();
  *at++ = format_number;
  *at++ = suite_xchacha20_poly1305;
  std::memcpy(at, context.volume.bytes.data(), VolumeId::size);
  at += VolumeId::size;
  number(context.epoch.value, 4);
  number(mutant("seal-any-extent") ? 0 : context.extent.value, 8);
  number(context.length, 4);
  assert(at == out.data() + out.size());
  return out;
}

const EVP_CIPHER* chacha20_poly1305() {
  // Fetched once and kept for the process's life: an implicit fetch at each call costs as much as a small extent.
  static const EVP_CIPHER* const cipher = [] {
    const EVP_CIPHER* fetched = EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr);
    if (fetched == nullptr) throw std::runtime_error("OpenSSL offers no ChaCha20-Poly1305");
    return fetched;
  }();
  return cipher;
}

// One context a thread and direction: setting it up allocates, using it again does not.
class Context {
 public:
  explicit Context(int encrypt) : context_(EVP_CIPHER_CTX_new()), encrypt_(encrypt) {
    if (context_ == nullptr ||
        EVP_CipherInit_ex(context_, chacha20_poly1305(), nullptr, nullptr, nullptr, encrypt) != 1)
      throw std::bad_alloc();
  }
  ~Context() { EVP_CIPHER_CTX_free(context_); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  /// XChaCha20 is ChaCha20 under a subkey from the nonce's first 16 bytes; the last 8 follow four zero bytes.
  EVP_CIPHER_CTX* start(const SecretKey& key, const std::uint8_t* nonce) {
    std::array<std::uint8_t, crypto_core_hchacha20_OUTPUTBYTES> subkey;
    crypto_core_hchacha20(subkey.data(), nonce, key.data(), nullptr);
    std::array<std::uint8_t, 12> short_nonce{};
    std::memcpy(short_nonce.data() + 4, nonce + 16, 8);
    const int started = EVP_CipherInit_ex(context_, nullptr, nullptr, subkey.data(), short_nonce.data(), encrypt_);
    sodium_memzero(subkey.data(), subkey.size());
    assert(started == 1);
    (void)started;
    return context_;
  }

 private:
  EVP_CIPHER_CTX* context_;
  int encrypt_;
};

}  // namespace

struct ExtentSealer::State {
  SecretKey key;
  Random& random;
};

ExtentSealer::ExtentSealer(const SecretKey& key, Random& random) : state_(new State{key.clone(), random}) {
  chacha20_poly1305();  // a machine without it fails now, not at the first write
}

ExtentSealer::~ExtentSealer() = default;

void ExtentSealer::seal(const ExtentContext& context, ByteView plain, MutableBytes out) const {
  assert(plain.size() == context.length && context.length >= 1 && context.length <= extent_bytes_max);
  assert(out.size() == plain.size() + seal_overhead_bytes);
  thread_local Context encryption(1);

  std::uint8_t* const nonce = out.data();
  std::uint8_t* const body = out.data() + nonce_bytes;
  state_->random.fill({nonce, nonce_bytes});
  if (mutant("nonce-reused")) std::memset(nonce, 0, nonce_bytes);
  const auto associated = associated_data(context);
  EVP_CIPHER_CTX* const cipher = encryption.start(state_->key, nonce);
  int count = 0;
  const int associated_count = mutant("seal-without-place") ? 0 : static_cast<int>(associated.size());
  bool good = EVP_EncryptUpdate(cipher, nullptr, &count, associated.data(), associated_count) == 1;
  good = good && EVP_EncryptUpdate(cipher, body, &count, plain.data(), static_cast<int>(plain.size())) == 1;
  good = good && EVP_EncryptFinal_ex(cipher, body + plain.size(), &count) == 1;
  good = good && EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, tag_bytes, body + plain.size()) == 1;
  // A stream cipher in memory has nothing to meet; what is not sealed must never be taken for it.
  if (!good) throw std::runtime_error("OpenSSL could not seal an extent");
}

Result<> ExtentSealer::open(const ExtentContext& context, ByteView sealed, MutableBytes out) const {
  assert(out.size() == context.length);
  const auto refuse = [&]() -> Result<> {
    sodium_memzero(out.data(), out.size());
    return fail(Code::corrupt,
                "extent " + std::to_string(context.extent.value) + " is not what was sealed for its place");
  };
  if (context.length < 1 || context.length > extent_bytes_max ||
      sealed.size() != std::size_t{context.length} + seal_overhead_bytes)
    return refuse();
  thread_local Context decryption(0);

  const std::uint8_t* const body = sealed.data() + nonce_bytes;
  std::array<std::uint8_t, tag_bytes> tag;  // OpenSSL takes it through a pointer to non-const
  std::memcpy(tag.data(), body + context.length, tag.size());
  const auto associated = associated_data(context);
  EVP_CIPHER_CTX* const cipher = decryption.start(state_->key, sealed.data());
  int count = 0;
  bool good = EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, tag_bytes, tag.data()) == 1;
  const int associated_count = mutant("seal-without-place") ? 0 : static_cast<int>(associated.size());
  good = good && EVP_DecryptUpdate(cipher, nullptr, &count, associated.data(), associated_count) == 1;
  good = good && EVP_DecryptUpdate(cipher, out.data(), &count, body, static_cast<int>(context.length)) == 1;
  std::array<std::uint8_t, tag_bytes> rest;  // a stream cipher leaves nothing for the end
  good = good && (EVP_DecryptFinal_ex(cipher, rest.data(), &count) == 1 || mutant("seal-tag-ignored"));
  if (!good) return refuse();
  return {};
}

}  // namespace atl
