// Objects of metadata as nodes return them: raw, and (what a thief of the keys could do) sealed again around hostile bytes.
// The first byte says as which kind; a head among them is never taken without its signature.
#include "cache/heads/head.h"
#include "cache/heads/stretch.h"
#include "tests/fuzz/target.h"
#include "tests/support/seeded_random.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace atl;
  static SeededRandom random(5);
  static const Keyring keyring = Keyring::generate(random);
  static const MetaSealer sealer = *MetaSealer::make(keyring);
  if (size == 0) return 0;
  const MetaName names[] = {MetaName::head(1, 2), MetaName::claim(1), MetaName::part(MetaKind::journal, {}), MetaName::part(MetaKind::checkpoint, {})};
  const MetaName& name = names[data[0] % 4];
  const ByteView bytes(data + 1, size - 1);
  NodeId node;
  demand(!sealer.open(name, bytes));  // nothing that was not sealed
  demand(!decode_head(bytes, keyring));
  (void)sealer.parse_head(as_text(bytes), node);
  (void)sealer.parse_claim(as_text(bytes), node);
  (void)sealer.parse_head(sealer.head_prefix(node) + std::string(as_text(bytes)), node);
  (void)sealer.parse_claim(sealer.claim_prefix(node) + std::string(as_text(bytes)), node);
  (void)unpack_stretch(bytes, [](const JournalBatch&) -> Result<> { return {}; });
  if (size > MetaSealer::plain_bytes_max) return 0;
  const Bytes sealed = sealer.seal(name, bytes, random);
  const auto opened = sealer.open(name, sealed);
  demand(opened && opened->size() == bytes.size() && std::equal(opened->begin(), opened->end(), bytes.begin()));
  demand(sealed.size() == MetaSealer::object_bytes(bytes.size()));
  for (const MetaName& other : names) demand(other == name || !sealer.open(other, sealed));
  return 0;
}
