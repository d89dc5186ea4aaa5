// Recovery kits as somebody pasted or typed them.
#include "cache/drive/recovery_kit.h"
#include "tests/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace atl;
  const auto kit = parse_kit(as_text(ByteView(data, size)));
  if (!kit) return 0;
  const auto again = parse_kit(kit_text(*kit));
  demand(again && again->volume == kit->volume && again->wrapped_keyring == kit->wrapped_keyring && again->nodes.size() == kit->nodes.size());
  return 0;
}
