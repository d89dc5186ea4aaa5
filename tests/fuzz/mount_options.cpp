// The -o options of `atoll mount`, one argument a line.
#include "fs/mount/mount_options.h"
#include "tests/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::string> texts(1);
  for (std::size_t i = 0; i < size; ++i) {
    if (data[i] == '\n') {
      texts.emplace_back();
    } else {
      texts.back() += static_cast<char>(data[i]);
    }
  }
  for (const bool root : {false, true}) {
    atl::Config config;
    (void)atl::parse_mount_options(texts, "default", {root, false}, config);
  }
  (void)atl::says_user_allow_other(texts.front());
  return 0;
}
