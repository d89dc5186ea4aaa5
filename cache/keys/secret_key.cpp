// SecretKey alone, apart from the keyring: a delegate holds secret keys and has no keyring.
#include "cache/keys/keyring.h"

#include <sodium.h>

#include <cassert>
#include <cstring>
#include <new>
#include <stdexcept>
#include <utility>

namespace atl {

namespace {

void start_sodium() {
  static const bool started = [] {
    if (sodium_init() < 0) throw std::runtime_error("libsodium could not be initialised");
    return true;
  }();
  (void)started;
}

}  // namespace

SecretKey::SecretKey() {
  start_sodium();
  bytes_ = static_cast<std::uint8_t*>(sodium_malloc(size));
  if (bytes_ == nullptr) throw std::bad_alloc();
  sodium_memzero(bytes_, size);
}

SecretKey SecretKey::random(Random& random) {
  SecretKey key;
  random.fill({key.bytes_, size});
  return key;
}

SecretKey SecretKey::from(ByteView bytes) {
  assert(bytes.size() == size);
  SecretKey key;
  std::memcpy(key.bytes_, bytes.data(), size);
  return key;
}

SecretKey::SecretKey(SecretKey&& other) noexcept : bytes_(std::exchange(other.bytes_, nullptr)) {}

SecretKey& SecretKey::operator=(SecretKey&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

SecretKey::~SecretKey() {
  sodium_free(bytes_);
}

SecretKey SecretKey::clone() const {
  return from(view());
}

bool SecretKey::equals(const SecretKey& other) const {
  return sodium_memcmp(bytes_, other.bytes_, size) == 0;
}

}  // namespace atl
