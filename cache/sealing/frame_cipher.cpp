#include "cache/sealing/frame_cipher.h"

#include <openssl/evp.h>

#include <array>
#include <mutex>
#include <stdexcept>

namespace atl {

struct FrameCipher::State {
  struct Free {
    void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
  };
  using Context = std::unique_ptr<EVP_CIPHER_CTX, Free>;

  Context encrypt, decrypt;
  std::mutex mutex;  // a context keeps state even in ECB mode

  static Context make(const SecretKey& key, int encrypting) {
    Context context(EVP_CIPHER_CTX_new());
    if (!context || EVP_CipherInit_ex(context.get(), EVP_aes_256_ecb(), nullptr, key.data(), nullptr, encrypting) != 1 ||
        EVP_CIPHER_CTX_set_padding(context.get(), 0) != 1) {
      throw std::runtime_error("OpenSSL offers no AES-256");
    }
    return context;
  }
  void run(Context& context, const std::uint8_t* in, std::uint8_t* out) {
    int count = 0;
    std::lock_guard lock(mutex);
    if (EVP_CipherUpdate(context.get(), out, &count, in, frame_header_bytes) != 1 || count != frame_header_bytes) {
      throw std::runtime_error("OpenSSL failed to run AES-256");
    }
  }
};

FrameCipher::FrameCipher(const SecretKey& key) : state_(std::make_unique<State>()) {
  state_->encrypt = State::make(key, 1);
  state_->decrypt = State::make(key, 0);
}

FrameCipher::~FrameCipher() = default;

void FrameCipher::seal(const FrameHeader& header, std::span<std::uint8_t, frame_header_bytes> out) const {
  std::array<std::uint8_t, frame_header_bytes> plain{};
  encode_frame_header(header, plain);
  state_->run(state_->encrypt, plain.data(), out.data());
}

Result<FrameHeader> FrameCipher::open(ByteView bytes) const {
  if (bytes.size() != frame_header_bytes) return fail(Code::corrupt, "no frame header stands here");
  std::array<std::uint8_t, frame_header_bytes> plain{};
  state_->run(state_->decrypt, bytes.data(), plain.data());
  return decode_frame_header(plain);
}

}  // namespace atl
