#include "engine/base/disk.h"

#include "engine/base/mutant.h"

namespace atl {

namespace {

std::string parent_of(const std::string& path) {
  const auto slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Result<> write_whole(Disk& disk, const std::string& path, ByteView content) {
  auto file = disk.open(path, OpenMode::create);
  if (!file) return fail(file.error());
  // The temporary file of an earlier crash may be longer.
  if (auto done = (*file)->truncate(0); !done) return done;
  if (auto done = (*file)->write(0, content); !done) return done;
  if (mutant("replaced-file-unflushed")) return {};
  return (*file)->sync();
}

}  // namespace

Result<> File::write_gather(std::uint64_t offset, std::span<const ByteView> pieces) {
  for (ByteView piece : pieces) {
    if (auto done = write(offset, piece); !done) return done;
    offset += piece.size();
  }
  return {};
}

Result<> Disk::rename_new(const std::string& from, const std::string& to) {
  if (auto done = link(from, to); !done) return done;
  return remove(from);
}

Result<Bytes> read_file(Disk& disk, const std::string& path, std::uint64_t limit) {
  auto file = disk.open(path, OpenMode::read);
  if (!file) return fail(file.error());
  auto size = (*file)->size();
  if (!size) return fail(size.error());
  if (*size > limit) {
    return fail(Code::too_large, path + " is larger than expected (" + human_bytes(*size) + ", at most " +
                                     human_bytes(limit) + ")");
  }
  Bytes content(static_cast<std::size_t>(*size));
  auto count = (*file)->read(0, content);
  if (!count) return fail(count.error());
  content.resize(*count);
  return content;
}

Result<> replace_file(Disk& disk, const std::string& path, ByteView content) {
  const std::string temporary = path + ".new";
  if (auto done = write_whole(disk, temporary, content); !done) {
    (void)disk.remove(temporary);
    return done;
  }
  if (auto done = disk.rename(temporary, path); !done) {
    (void)disk.remove(temporary);
    return done;
  }
  return disk.sync_directory(parent_of(path));
}

}  // namespace atl
