// Recovery words as somebody typed them.
#include "cache/keys/keyring.h"
#include "tests/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace atl;
  const auto key = parse_recovery_words(as_text(ByteView(data, size)));
  if (!key) return 0;
  const auto again = parse_recovery_words(recovery_words(*key));
  demand(bool(again));
  demand(std::ranges::equal(again->view(), key->view()));
  return 0;
}
