// The command line, one argument a line: understood or refused with a sentence, and nothing is done.
#include <iostream>
#include <sstream>

#include "fs/command/cli.h"
#include "tests/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 4096) return 0;
  std::vector<std::string> words{"atoll"};
  for (std::size_t i = 0; i < size; ++i) {
    if (i == 0 || data[i - 1] == '\n') words.emplace_back();
    if (data[i] != '\n' && data[i] != 0) words.back() += static_cast<char>(data[i]);  // no argument holds a zero byte
  }
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  std::ostringstream output, errors;
  auto* const output_before = std::cout.rdbuf(output.rdbuf());
  auto* const errors_before = std::cerr.rdbuf(errors.rdbuf());
  const int status = atl::check_command_line(static_cast<int>(words.size()), pointers.data());
  std::cout.rdbuf(output_before);
  std::cerr.rdbuf(errors_before);
  atl::demand(status == 0 || status == 2);
  atl::demand((status == 2) == !errors.str().empty());
  return 0;
}
