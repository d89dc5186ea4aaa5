#include "fs/command/new_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>

#include "engine/base/os_error.h"

namespace atl {

namespace fs = std::filesystem;

Result<> make_directories(const fs::path& path, Undo& undo) {
  std::error_code error;
  std::vector<fs::path> missing;
  for (fs::path at = path; !at.empty() && !fs::exists(at, error); at = at.parent_path()) missing.push_back(at);
  for (auto at = missing.rbegin(); at != missing.rend(); ++at) {
    if (::mkdir(at->c_str(), 0700) != 0) return fail_errno("make the directory", at->string());
    undo.add([made = *at] { ::rmdir(made.c_str()); });
  }
  return {};
}

Result<> write_secret_file(const std::string& path, std::string_view text, Undo& undo) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return fail_errno("write the new file", path);
  undo.add([path] { ::unlink(path.c_str()); });
  std::size_t written = 0;
  while (written < text.size()) {
    const ssize_t count = ::write(fd, text.data() + written, text.size() - written);
    if (count <= 0) break;
    written += static_cast<std::size_t>(count);
  }
  const bool durable = written == text.size() && ::fsync(fd) == 0;
  auto failed = durable ? std::optional<tl::unexpected<Error>>() : fail_errno("write", path);
  if (::close(fd) != 0 || !durable) return failed ? *failed : fail_errno("write", path);
  return {};
}

}  // namespace atl
