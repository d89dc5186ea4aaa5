// Random operations of a file system, performed on two folders side by side: the one under test and a plain one.
//
// An operation names what it touches by small numbers (a path of a fixed pool, a slot of open handles), never by what a
// former operation returned, so that any subsequence of a program is a program: that is what shrinking needs. What it
// did is told as text, value or error name and bytes read, and both sides must tell the same.
// Single-threaded. A Side owns its descriptors and mappings.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace model {

struct Operation {
  std::string kind;
  unsigned a = 0, b = 0;             // paths or slots
  std::uint64_t offset = 0, length = 0, seed = 0;
};

std::string to_text(const Operation& op);
/// False if the text is none.
bool from_text(const std::string& text, Operation& op);

/// The n-th operation of a seed. Hooks (model.cpp) are not among them.
Operation random_operation(std::uint64_t seed, std::uint64_t n);

inline constexpr unsigned slots = 40, maps = 6;

class Side {
 public:
  explicit Side(std::string root);
  ~Side() { close_all(); }
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;

  /// Performs it; what it returned.
  std::string perform(const Operation& op);
  /// All handles and mappings, given back: an unmount needs that.
  void close_all();
  /// One line for each name in the tree, sorted, with all that must be equal; and one for each open handle.
  std::vector<std::string> describe();
  const std::string& root() const { return root_; }

 private:
  struct Map {
    char* at = nullptr;
    std::size_t length = 0;
    int fd = -1;  // kept open to know the size
  };
  std::string path(unsigned index) const;
  void unmap(Map& map);

  std::string root_;
  std::array<int, slots> fd_;
  std::array<Map, maps> map_;
};

}  // namespace model
