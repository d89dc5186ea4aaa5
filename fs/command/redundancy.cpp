#include "fs/command/redundancy.h"

#include <algorithm>
#include <charconv>

namespace atl {

Redundancy default_redundancy(std::size_t nodes) {
  const std::size_t n = std::min<std::size_t>(nodes, 80);
  std::size_t k = 1;
  if (n >= 4 && n < 12)
    k = n / 2;
  else if (n >= 12 && n <= 30)
    k = (n * 4 + 5) / 10;
  else if (n > 30)
    k = (n * 29 + 40) / 80;
  return Redundancy{static_cast<std::uint8_t>(k), static_cast<std::uint8_t>(n)};
}

std::uint8_t default_protect_min(Redundancy redundancy) {
  const unsigned k = redundancy.k;
  const unsigned n = redundancy.n;
  const unsigned r = n <= 6 ? n - 1 : k + 2 * (n - k) / 3;
  return static_cast<std::uint8_t>(std::clamp(r, k, n));
}

Result<Redundancy> parse_redundancy(const std::string& text, std::size_t nodes) {
  unsigned k = 0;
  unsigned n = 0;
  const char* const end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, k);
  if (first.ec == std::errc() && first.ptr != end && *first.ptr == '/') {
    const auto second = std::from_chars(first.ptr + 1, end, n);
    if (second.ec == std::errc() && second.ptr == end && k >= 1 && k <= n && n <= 255) {
      if (n <= nodes) return Redundancy{static_cast<std::uint8_t>(k), static_cast<std::uint8_t>(n)};
      return fail(Code::invalid, "redundancy " + text + " needs " + std::to_string(n) + " nodes, and there are " + std::to_string(nodes),
                  "a node holds at most one shard of a segment: give more --node, or a smaller n");
    }
  }
  return fail(Code::invalid, "\"" + text + "\" is no redundancy", "give K/N, such as 3/6: any 3 of 6 shards bring the data back");
}

}  // namespace atl
