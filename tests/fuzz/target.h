// What fuzz targets share. A target is libFuzzer's function in a file of its own; replay.cpp runs it without clang.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "engine/base/bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace atl {

/// Ends the process if what must hold does not: that is how a fuzzer learns of it.
inline void demand(bool holds) {
  if (holds) return;
  std::fputs("a demand of the fuzz target does not hold\n", stderr);
  std::abort();
}

}  // namespace atl
