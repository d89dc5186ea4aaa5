#include "cache/drive/fenced_note.h"

#include <nlohmann/json.hpp>

namespace atl {
namespace {

using Json = nlohmann::json;

constexpr std::uint32_t format_number = 1;
constexpr std::uint64_t note_bytes_max = 64u << 10;

std::string note_path(const std::string& directory) { return directory + "/fenced"; }

}  // namespace

Result<std::optional<FencedNote>> read_fenced_note(Disk& disk, const std::string& directory) {
  auto bytes = read_file(disk, note_path(directory), note_bytes_max);
  if (!bytes && bytes.error().code == Code::not_found) return std::nullopt;
  if (!bytes) return fail(bytes.error());
  try {
    const Json json = Json::parse(as_text(*bytes));
    if (json.at("format").get<std::uint32_t>() > format_number)
      return fail(Code::newer_format, note_path(directory) + " has a newer format", "use the version of atoll that wrote it");
    FencedNote note;
    note.epoch = json.at("epoch").get<std::uint32_t>();
    const Json& untold = json.at("untold");
    note.untold = {untold.at("changes").get<std::uint64_t>(), untold.at("files").get<std::uint64_t>(), untold.at("bytes").get<std::uint64_t>(),
                   untold.at("complete").get<bool>()};
    return std::optional(note);
  } catch (const Json::exception&) {
    return fail(Code::corrupt, note_path(directory) + " is damaged", "remove it: whether another computer owns the drive is asked from the nodes again");
  }
}

Result<> write_fenced_note(Disk& disk, const std::string& directory, const FencedNote& note) {
  const Json json{{"format", format_number},
                  {"epoch", note.epoch},
                  {"untold", {{"changes", note.untold.changes}, {"files", note.untold.files}, {"bytes", note.untold.bytes}, {"complete", note.untold.complete}}}};
  return replace_file(disk, note_path(directory), as_bytes(json.dump(2) + "\n"));
}

Result<> remove_fenced_note(Disk& disk, const std::string& directory) {
  if (auto removed = disk.remove(note_path(directory)); !removed && removed.error().code != Code::not_found) return removed;
  return disk.sync_directory(directory);
}

Error fenced_error(std::uint32_t epoch, const std::string& directory) {
  return Error(Code::fenced, "another computer has taken over this drive (epoch " + std::to_string(epoch) + ")",
               "what this computer had not brought to the nodes stays in " + directory);
}

}  // namespace atl
