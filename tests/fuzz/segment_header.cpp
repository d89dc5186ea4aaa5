// Headers of segment files and of shards.
#include "cache/erasure/shard_codec.h"
#include "cache/staging/segment_format.h"
#include "tests/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace atl;
  const ByteView bytes(data, size);
  (void)check_shard_header(bytes);
  if (const auto header = decode_segment_header(bytes, "file")) {
    const auto again = encode_segment_header(header->volume, header->id);
    const auto twice = decode_segment_header(again, "file");
    demand(twice && twice->volume == header->volume && twice->id == header->id);
  }
  return 0;
}
