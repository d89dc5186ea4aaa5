// Keys on paper: a wrapped keyring with as few digits as it can be typed with, and words one at a time.
// Pure functions; thread-safe.
#pragma once

#include <string_view>

#include "cache/keys/keyring.h"

namespace atl {

/// No wrapped keyring is shorter.
inline constexpr std::size_t wrapped_keyring_bytes_min = 8 + 1 + 1 + VolumeId::size + 32 + 24 + SecretKey::size + 16 + 8;

/// What of a wrapped keyring, of at least that length, cannot be told from its key and volume.
Bytes keyring_for_paper(ByteView wrapped);
/// The wrapped keyring again. Code::corrupt if this cannot be what keyring_for_paper gave; a wrong digit shows in unwrap.
Result<Bytes> keyring_from_paper(ByteView paper, const VolumeId& volume, const SecretKey& wrapping);

/// One recovery word as it is typed, before the others are known: whether it is one. False for what is only a number
/// ("12."), and Code::key as parse_recovery_words says it, naming `position`.
Result<bool> check_recovery_word(std::string_view token, std::size_t position);

}  // namespace atl
