#include <sodium.h>

#include <new>

#include "engine/daemon/store/object_store.h"

namespace atl {

static_assert(sizeof(crypto_generichash_state) <= 384 && alignof(crypto_generichash_state) <= 64);

namespace {
crypto_generichash_state* state_in(std::array<std::uint8_t, 384>& storage) {
  return std::launder(reinterpret_cast<crypto_generichash_state*>(storage.data()));
}
}  // namespace

ContentHasher::ContentHasher() {
  new (state_.data()) crypto_generichash_state;
  crypto_generichash_init(state_in(state_), nullptr, 0, ContentHash::size);
}

void ContentHasher::add(ByteView bytes) { crypto_generichash_update(state_in(state_), bytes.data(), bytes.size()); }

ContentHash ContentHasher::finish() {
  ContentHash hash;
  crypto_generichash_final(state_in(state_), hash.bytes.data(), hash.bytes.size());
  return hash;
}

ContentHash content_hash(ByteView bytes) {
  ContentHash hash;
  crypto_generichash(hash.bytes.data(), hash.bytes.size(), bytes.data(), bytes.size(), nullptr, 0);
  return hash;
}

}  // namespace atl
