#include "cache/care/touched_files.h"

#include <sys/stat.h>

#include <map>
#include <unordered_set>

#include "cache/drive/types.h"
#include "engine/base/codec.h"

namespace atl {
namespace {

/// Deeper than any tree that a path can name.
constexpr int depth_max = 4096;

std::uint64_t number_at(ByteView key, std::size_t at) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8 && at + i < key.size(); ++i) value = value << 8 | key[at + i];
  return value;
}

struct Name {
  InodeNumber parent;
  std::string text;
};

std::string path_of(const Name& name, const std::map<InodeNumber, Name>& folders) {
  std::string path = name.text;
  InodeNumber at = name.parent;
  for (int depth = 0; at != root_inode && depth < depth_max; ++depth) {
    const auto folder = folders.find(at);
    if (folder == folders.end()) return "?/" + path;
    path = folder->second.text + "/" + path;
    at = folder->second.parent;
  }
  return path;
}

}  // namespace

Result<TouchedFiles> name_inodes(IndexStore& index, const std::set<InodeNumber>& inodes) {
  TouchedFiles files;
  files.count = inodes.size();
  if (inodes.empty()) return files;
  std::map<InodeNumber, Name> folders, found;
  auto read = index.dump([&](std::string_view table, ByteView key, ByteView row) -> Result<> {
    if (table != "entries" || key.size() < 9) return {};
    Decoder in(row);
    const auto inode = in.id<InodeNumber>();
    const auto type = static_cast<std::uint32_t>(in.varint());
    if (!in.ok()) return fail(Code::corrupt, "a row of the index is malformed");
    const bool wanted = inodes.contains(inode);
    if (!wanted && !S_ISDIR(type)) return {};
    const Name name{InodeNumber(number_at(key, 0)), std::string(as_text(key.subspan(8)))};
    if (wanted) found.try_emplace(inode, name);
    if (S_ISDIR(type)) folders.emplace(inode, name);
    return {};
  });
  if (!read) return fail(read.error());
  for (const InodeNumber inode : inodes) {
    if (files.names.size() == TouchedFiles::names_max) break;
    if (inode == root_inode) {
      files.names.emplace_back(".");
      continue;
    }
    const auto name = found.find(inode);
    files.names.push_back(name == found.end() ? "inode " + std::to_string(inode.value) + ", which has no name" : path_of(name->second, folders));
  }
  return files;
}

Result<TouchedFiles> files_in(IndexStore& index, const std::set<SegmentId>& segments) {
  if (segments.empty()) return TouchedFiles{};
  std::unordered_set<ExtentId> extents;
  auto read = index.dump([&](std::string_view table, ByteView key, ByteView row) -> Result<> {
    if (table != "extents") return {};
    auto extent = ExtentRow::decode(row);
    if (!extent) return fail(extent.error());
    if (segments.contains(extent->segment)) extents.insert(ExtentId(number_at(key, 0)));
    return {};
  });
  if (!read) return fail(read.error());
  std::set<InodeNumber> inodes;
  read = index.dump([&](std::string_view table, ByteView key, ByteView row) -> Result<> {
    if (table != "windows") return {};
    auto window = WindowRow::decode(number_at(key, 8), row);
    if (!window) return fail(window.error());
    for (const MapPiece& piece : window->pieces)
      if (extents.contains(piece.extent)) inodes.insert(InodeNumber(number_at(key, 0)));
    return {};
  });
  if (!read) return fail(read.error());
  return name_inodes(index, inodes);
}

}  // namespace atl
