// The file of one object in a data folder: a header that says whose it is and what it is called, then blocks of 16 KiB,
// each behind its checksum, so that a range costs one read and is verified. A file without its header is unfinished.
// FORMAT.md, "Data folder of a node daemon". Errors: corrupt where bytes are not what was written; others as Disk.
// One thread at a time per object of these classes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "engine/base/disk.h"
#include "engine/daemon/store/object_store.h"

namespace atl {

constexpr std::uint64_t object_block_bytes = 16384;
constexpr std::uint64_t object_sum_bytes = 16;
constexpr std::uint64_t object_header_bytes = 256;
constexpr std::uint64_t objects_per_directory = 1024;

struct ObjectHeader {
  std::uint64_t id = 0;
  std::uint64_t size = 0;
  AccountId account;
  ContentHash hash;
  std::string name;
};

/// The length of the file of an object of `size` bytes.
std::uint64_t object_file_bytes(std::uint64_t size);

std::string object_directory(const std::string& folder, std::uint64_t directory);
/// Objects lie in directories of 1024 by their number, so that those stored together are flushed together.
std::string object_path(const std::string& folder, std::uint64_t id);

/// Writes a new object's file. Nothing is durable before finish() succeeds.
class ObjectFileWriter {
 public:
  ObjectFileWriter(std::unique_ptr<File> file, std::uint64_t id);
  Result<> write(ByteView bytes);
  /// Writes what is left and the header, and flushes.
  Result<> finish(const ObjectHeader& header);

 private:
  Result<> write_blocks();

  const std::unique_ptr<File> file_;
  const std::uint64_t id_;
  std::uint64_t blocks_written_ = 0;
  Bytes buffer_;  // whole blocks and the last, partial one, without their sums
};

class ObjectFileReader {
 public:
  /// Reads and checks the header. Code::not_found without a file; corrupt if it is not the file of object `id`.
  static Result<std::unique_ptr<ObjectFileReader>> open(Disk& disk, const std::string& folder, std::uint64_t id);
  const ObjectHeader& header() const { return header_; }
  /// Fills `out` from `offset`, less at the object's end. `out` may hold anything after a failure.
  Result<std::size_t> read(std::uint64_t offset, MutableBytes out);

 private:
  ObjectFileReader(std::unique_ptr<File> file, ObjectHeader header, std::string path)
      : file_(std::move(file)), header_(std::move(header)), path_(std::move(path)) {}
  Result<> read_run(std::uint64_t first_block, std::uint64_t blocks);

  const std::unique_ptr<File> file_;
  const ObjectHeader header_;
  const std::string path_;
  Bytes run_;  // blocks with their sums, as they lie in the file
};

}  // namespace atl
