// `atoll inspect`: what a file rests on, and what the drive's own files hold.
#include <array>
#include <sys/stat.h>

#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cache/drive/home.h"
#include "cache/erasure/shard_codec.h"
#include "cache/journal/journal.h"
#include "cache/journal/record.h"
#include "cache/sealing/frame_cipher.h"
#include "cache/staging/segment_store.h"
#include "engine/base/os_error.h"
#include "engine/base/posix_disk.h"
#include "fs/command/commands.h"
#include "fs/command/running_drive.h"
#include "fs/command/terminal.h"
#include "fs/mount/mount_point.h"

namespace atl {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

void print_report(const json& report, const std::string& path) {
  std::cout << path << ": inode " << report.at("inode") << ", " << report.at("size") << " bytes, "
            << report.at("allocated_bytes") << " allocated\n";
  for (const json& extent : report.at("extents"))
    std::cout << "  bytes " << extent.at("offset") << " to "
              << extent.at("offset").get<std::uint64_t>() + extent.at("length").get<std::uint64_t>() << ": extent "
              << extent.at("extent") << " in segment " << extent.at("segment") << " at " << extent.at("segment_offset") << "\n";
  for (const json& segment : report.at("segments")) {
    std::cout << "  segment " << segment.at("segment") << ": " << segment.at("bytes") << " bytes, "
              << (segment.at("local") ? "also" : "not") << " on this computer"
              << (segment.at("attempt").is_null() ? ", not sent yet" : "") << "\n";
    for (const json& shard : segment.at("shards"))
      std::cout << "    shard " << shard.at("shard") << "  " << shard.at("mac").get<std::string>() << "  "
                << shard.at("url").get<std::string>() << "  " << shard.at("object").get<std::string>() << "\n";
  }
}

Outcome<> inspect_path(const InspectArguments& arguments) {
  std::error_code error;
  const fs::path path = fs::canonical(fs::absolute(arguments.path).parent_path(), error) / fs::absolute(arguments.path).filename();
  struct stat stat {};
  if (error || ::lstat(path.c_str(), &stat) != 0) return give_up(fail_errno("look at", arguments.path).value());
  const std::string resolved = fs::absolute(arguments.path).filename().empty() ? path.parent_path().string() : path.string();
  const auto mount = mount_of(resolved);
  const auto name = mount ? drive_name_of(*mount) : std::nullopt;
  if (!name)
    return give_up(Error(Code::not_found, arguments.path + " is not on a drive of Atoll",
                         "for a file of the drive's own folder: atoll inspect journal|segment|object FILE"),
                   Exit::no_drive);
  auto places = find_drive(*name);
  if (!places) return tl::unexpected<Failure>(places.error());
  auto client = reach_drive(*places);
  if (!client) return tl::unexpected<Failure>(client.error());
  auto report = (*client)->ask({{"do", "inspect"}, {"inode", stat.st_ino}, {"verify", true}}, answer_patience);
  if (!report) return give_up(report.error());
  if (arguments.json)
    std::cout << report->dump() << "\n";
  else
    print_report(*report, arguments.path);
  return {};
}

/// The state folder that a file lies in, else the one of the drive named.
Outcome<std::string> home_of(const InspectArguments& arguments, Disk& disk) {
  if (arguments.name.empty()) {
    std::error_code error;
    for (fs::path at = fs::weakly_canonical(fs::absolute(arguments.path), error).parent_path(); at.has_relative_path(); at = at.parent_path())
      if (read_home(disk, at.string())) return at.string();
  }
  auto places = find_drive(arguments.name.empty() ? "default" : arguments.name);
  if (!places) return tl::unexpected<Failure>(places.error());
  return places->state;
}

Outcome<Keyring> open_keyring(const InspectArguments& arguments, Disk& disk) {
  auto home = home_of(arguments, disk);
  if (!home) return tl::unexpected<Failure>(home.error());
  auto keyring = unlock_home(disk, *home, [] { return find_passphrase({}, "that the file belongs to"); });
  if (!keyring) return give_up(keyring.error());
  return std::move(*keyring);
}

Outcome<> inspect_journal(const InspectArguments& arguments) {
  PosixDisk disk;
  auto keyring = open_keyring(arguments, disk);
  if (!keyring) return tl::unexpected<Failure>(keyring.error());
  auto key = keyring->derive(KeyEpoch{1}, KeyPurpose::journal);
  if (!key) return give_up(key.error());
  const auto show = [&](std::uint64_t offset, const JournalBatch& batch) {
    if (!arguments.json)
      std::cout << "batch at " << offset << ": LSN " << batch.first.value << ", " << plural(batch.count, "record") << "\n";
    std::uint64_t lsn = batch.first.value;
    const auto decoded = decode_records(batch.body, [&](const Record& record) -> Result<> {
      if (arguments.json)
        std::cout << json{{"offset", offset}, {"lsn", lsn}, {"record", describe(record)}}.dump(-1, ' ', false, json::error_handler_t::replace) << "\n";
      else
        std::cout << "  " << lsn << "  " << describe(record) << "\n";
      ++lsn;
      return {};
    });
    if (!decoded) std::cout << "  damaged: " << decoded.error().what << "\n";
  };
  auto read = inspect_journal_file(disk, arguments.path, keyring->volume(), *key, show);
  if (!read) return give_up(read.error());
  return {};
}

Outcome<> inspect_segment(const InspectArguments& arguments) {
  PosixDisk disk;
  const auto show = [&](std::uint64_t offset, const FrameHeader& frame) {
    if (arguments.json)
      std::cout << json{{"offset", offset}, {"extent", frame.extent.value}, {"plain_bytes", frame.plain_bytes}, {"epoch", frame.epoch}}.dump() << "\n";
    else
      std::cout << "frame at " << offset << ": extent " << frame.extent.value << ", " << frame.plain_bytes
                << " bytes, key epoch " << frame.epoch << "\n";
  };
  auto keyring = open_keyring(arguments, disk);
  if (!keyring) return tl::unexpected<Failure>(keyring.error());
  auto key = keyring->derive(KeyEpoch{1}, KeyPurpose::frame_header);
  if (!key) return give_up(key.error());
  const FrameCipher frames(*key);
  auto read = inspect_segment_file(disk, arguments.path, [&](ByteView bytes) { return frames.open(bytes); }, show);
  if (!read) return give_up(read.error());
  return {};
}

/// A node's object tells nothing without the drive's index: its shape is all there is to show.
Outcome<> inspect_object(const InspectArguments& arguments) {
  PosixDisk disk;
  auto file = disk.open(arguments.path, OpenMode::read);
  if (!file) return give_up(file.error());
  auto size = (*file)->size();
  if (!size) return give_up(size.error());
  Bytes header(shard_header_bytes);
  auto count = (*file)->read(0, header);
  if (!count) return give_up(count.error());
  if (*count < shard_header_bytes)
    return give_up(Error(Code::corrupt, arguments.path + " is too short for an object: " + std::to_string(*size) + " bytes"));
  const std::uint64_t leaf = leaf_bytes + leaf_mac_bytes;
  const std::uint64_t leaves = (*size - shard_header_bytes) / leaf;
  const bool whole = (*size - shard_header_bytes) % leaf == 0;
  if (as_text(ByteView(header).first(8)) == "atollmta") {
    constexpr std::array<std::string_view, 5> kinds = {"unknown", "head", "stretch of the journal", "part of a checkpoint", "claim of an epoch"};
    const std::size_t kind = header[9] < kinds.size() ? header[9] : 0;
    if (arguments.json)
      std::cout << json{{"bytes", *size}, {"kind", kinds[kind]}, {"format", header[8]}}.dump() << "\n";
    else
      std::cout << "object of metadata, " << *size << " bytes: " << kinds[kind] << ", format " << int{header[8]}
                << "; sealed, only the drive's keys open it\n";
    return {};
  }
  if (arguments.json) {
    std::cout << json{{"bytes", *size}, {"header", to_hex(header)}, {"leaves", leaves}, {"whole", whole}}.dump() << "\n";
    return {};
  }
  std::cout << "object of " << *size << " bytes: header " << to_hex(header) << ", " << leaves << " leaves of " << leaf_bytes
            << " bytes with a MAC each" << (whole ? "" : "; cut off in the middle of a leaf") << "\n"
            << "Whose it is, only the drive's index knows: atoll inspect PATH shows the objects of a file and checks their MACs.\n";
  return {};
}

}  // namespace

Outcome<> run_inspect(const InspectArguments& arguments) {
  if (arguments.what == "journal") return inspect_journal(arguments);
  if (arguments.what == "segment") return inspect_segment(arguments);
  if (arguments.what == "object") return inspect_object(arguments);
  return inspect_path(arguments);
}

}  // namespace atl
