// 32 secret bytes, kept in a drive's folder sealed under its keyring: no more open than the keyring is. FORMAT.md, "Sealed
// secrets". Pure; thread-safe.
#pragma once

#include <string_view>

#include "cache/keys/keyring.h"

namespace atl {

/// What a sealed secret is, so that none opens as another: a purpose of its own, and a title.
struct SecretKind {
  std::uint64_t purpose;  // FORMAT.md, "Keys"
  std::string_view title;
};
inline constexpr SecretKind recovery_key_secret{9, "atoll recovery key"};
inline constexpr SecretKind device_key_secret{10, "atoll device key"};

inline constexpr std::size_t sealed_secret_bytes = 4 + 24 + SecretKey::size + 16;

/// Under the keyring's current epoch.
Result<Bytes> seal_secret(const SecretKey& secret, SecretKind kind, const Keyring& keyring, Random& random);
/// Code::corrupt if it is none, or damaged; key if it was sealed under an epoch that the keyring does not know.
Result<SecretKey> open_secret(ByteView sealed, SecretKind kind, const Keyring& keyring);

}  // namespace atl
