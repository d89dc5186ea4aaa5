// How much of a long test is done: the same law is tried on fewer cases where a sanitizer makes each of them ten times as
// long. Nothing else may depend on it. Included by any test.
#pragma once

namespace atl {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

/// So many rounds, seeds or hours.
template <typename T>
constexpr T effort(T plain, T with_sanitizers) {
  return sanitized ? with_sanitizers : plain;
}

}  // namespace atl
