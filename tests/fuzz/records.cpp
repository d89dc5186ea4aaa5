// Bodies of journal batches: whatever the bytes, records or an error; what is taken is written back the same way.
#include "cache/journal/record.h"
#include "tests/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace atl;
  Bytes again;
  const auto decoded = decode_records(ByteView(data, size), [&again](const Record& record) -> Result<> {
    encode_record(record, again);
    return {};
  });
  if (!decoded) return 0;
  std::size_t first = 0, second = 0;
  Bytes third;
  demand(bool(decode_records(ByteView(data, size), [&first](const Record&) -> Result<> { return ++first, Result<>(); })));
  demand(bool(decode_records(again, [&](const Record& record) -> Result<> {
    encode_record(record, third);
    return ++second, Result<>();
  })));
  demand(first == second && third == again);
  return 0;
}
