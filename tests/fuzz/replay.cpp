// Runs a fuzz target without libFuzzer: every file given, then mutations of them drawn from a seed.
//
//   fuzz_NAME [--mutations N] [--seed S] FILE_OR_FOLDER...
//
// Before each input runs it is kept in memory; should the target die, the input is written to crash-NAME in the current
// folder, and `fuzz_NAME crash-NAME` repeats it. Exit 0, or the signal.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "tests/fuzz/target.h"
#include "tests/support/seeded_random.h"

namespace {

const atl::Bytes* running = nullptr;
char crash_file[256];

void keep(int signal) {
  const int fd = ::open(crash_file, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd >= 0 && running != nullptr && ::write(fd, running->data(), running->size()) >= 0) {
    const char text[] = "FAIL the input is kept in crash-NAME of this folder\n";
    if (::write(STDOUT_FILENO, text, sizeof text - 1) < 0) ::_exit(3);
  }
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

void run(const atl::Bytes& input) {
  running = &input;
  LLVMFuzzerTestOneInput(input.data(), input.size());
}

atl::Bytes mutated(const std::vector<atl::Bytes>& corpus, atl::SeededRandom& random) {
  atl::Bytes bytes = corpus[random.below(corpus.size())];
  for (std::uint64_t times = 1 + random.below(4); times > 0; --times) {
    const std::size_t at = bytes.empty() ? 0 : random.below(bytes.size());
    const auto where = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    switch (random.below(6)) {
      case 0:
        if (!bytes.empty()) bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ 1u << random.below(8));
        break;
      case 1:
        if (!bytes.empty()) bytes[at] = random.chance(0.5) ? 0xff : static_cast<std::uint8_t>(random.below(256));
        break;
      case 2: bytes.insert(where, static_cast<std::uint8_t>(random.below(256))); break;
      case 3: bytes.resize(at); break;
      case 4:
        bytes.erase(where, bytes.begin() + static_cast<std::ptrdiff_t>(std::min(bytes.size(), at + random.below(16))));
        break;
      default: {
        const atl::Bytes& other = corpus[random.below(corpus.size())];
        if (other.empty()) break;
        const std::size_t from = random.below(other.size());
        bytes.insert(where, other.begin() + static_cast<std::ptrdiff_t>(from),
                     other.begin() + static_cast<std::ptrdiff_t>(std::min(other.size(), from + random.below(64))));
      }
    }
  }
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t mutations = 0, seed = 1;
  std::vector<atl::Bytes> corpus;
  const auto add = [&corpus](const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  };
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--mutations" && i + 1 < argc) mutations = std::strtoull(argv[++i], nullptr, 10);
    else if (argument == "--seed" && i + 1 < argc) seed = std::strtoull(argv[++i], nullptr, 10);
    else if (std::filesystem::is_directory(argument)) for (const auto& entry : std::filesystem::directory_iterator(argument)) add(entry.path());
    else add(argument);
  }
  const std::string name = std::filesystem::path(argv[0]).filename();
  if (corpus.empty()) {
    std::cerr << "usage: " << name << " [--mutations N] [--seed S] FILE_OR_FOLDER...\n";
    return 2;
  }
  std::snprintf(crash_file, sizeof crash_file, "crash-%s", name.c_str());
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) ::signal(signal, keep);
  std::sort(corpus.begin(), corpus.end());  // a folder has no order
  for (const atl::Bytes& input : corpus) run(input);
  atl::SeededRandom random(seed);
  for (std::uint64_t i = 0; i < mutations; ++i) run(mutated(corpus, random));
  std::cout << "ok " << name << ": " << corpus.size() << " inputs and " << mutations << " mutations, seed " << seed << "\n";
}
