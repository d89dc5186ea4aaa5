// Making files and directories that are taken back if the command that made them fails. Main thread of a command.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"

namespace atl {

/// Undoes, in reverse order, what was done, unless it is told that all went well.
class Undo {
 public:
  ~Undo() {
    for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) (*step)();
  }
  void add(std::function<void()> step) { steps_.push_back(std::move(step)); }
  void forget() { steps_.clear(); }

 private:
  std::vector<std::function<void()>> steps_;
};

/// Creates a directory with its missing parents, 0700, and removes at undo what it created.
Result<> make_directories(const std::filesystem::path& path, Undo& undo);

/// Writes a new file that only this user can read; Code::exists if there is one.
Result<> write_secret_file(const std::string& path, std::string_view text, Undo& undo);

}  // namespace atl
