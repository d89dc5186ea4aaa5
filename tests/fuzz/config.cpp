// Configuration files.
#include "fs/config/config.h"
#include "tests/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  atl::Config config;
  (void)atl::read_config(config, atl::as_text(atl::ByteView(data, size)), "file");
  return 0;
}
