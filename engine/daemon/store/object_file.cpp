#include "engine/daemon/store/object_file.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "engine/base/codec.h"
#include "engine/base/mutant.h"
#include "engine/daemon/store/sums.h"

namespace atl {

namespace {

constexpr std::string_view header_magic = "atollobj";
constexpr std::uint32_t format = 1;
constexpr std::uint64_t name_bytes_max = 128;
constexpr std::uint64_t blocks_at_once = 16;
constexpr std::uint64_t stride = object_block_bytes + object_sum_bytes;

std::uint64_t blocks_of(std::uint64_t size) { return (size + object_block_bytes - 1) / object_block_bytes; }

std::uint64_t block_length(std::uint64_t size, std::uint64_t block) {
  return std::min(object_block_bytes, size - block * object_block_bytes);
}

Sum16 block_sum(std::uint64_t id, std::uint64_t block, ByteView data) {
  return sum16({place_bytes(id), place_bytes(block), data});
}

Bytes encode_header(const ObjectHeader& header) {
  Bytes bytes;
  Encoder out(bytes);
  out.raw(as_bytes(header_magic));
  out.u32(format);
  out.u32(0);
  out.u64(header.id);
  out.u64(header.size);
  out.id(header.account);
  out.id(header.hash);
  out.u8(static_cast<std::uint8_t>(header.name.size()));
  out.raw(as_bytes(header.name));
  bytes.resize(object_header_bytes - object_sum_bytes);
  out.raw(sum16({bytes}));
  return bytes;
}

Result<ObjectHeader> decode_header(ByteView bytes, std::uint64_t id, const std::string& path) {
  const Error damaged(Code::corrupt, path + " is not the whole file of an object");
  if (bytes.size() != object_header_bytes) return fail(damaged);
  const ByteView body = bytes.first(object_header_bytes - object_sum_bytes);
  const Sum16 sum = sum16({body});
  if (!std::equal(sum.begin(), sum.end(), bytes.begin() + static_cast<std::ptrdiff_t>(body.size())))
    return fail(damaged);
  Decoder in(body);
  if (as_text(in.raw(header_magic.size())) != header_magic) return fail(damaged);
  if (in.u32() != format) return fail(Code::newer_format, path + " was written by a newer version of Atoll");
  (void)in.u32();
  ObjectHeader header;
  header.id = in.u64();
  header.size = in.u64();
  header.account = in.id<AccountId>();
  header.hash = in.id<ContentHash>();
  const std::uint8_t length = in.u8();
  if (length > name_bytes_max) return fail(damaged);
  header.name = as_text(in.raw(length));
  if (!in.ok() || header.id != id || header.size > ObjectStore::object_bytes_max) return fail(damaged);
  return header;
}

std::string hex_digits(std::uint64_t value, int digits) {
  char text[17];
  std::snprintf(text, sizeof text, "%0*llx", digits, static_cast<unsigned long long>(value));
  return text;
}

}  // namespace

std::uint64_t object_file_bytes(std::uint64_t size) {
  return object_header_bytes + size + blocks_of(size) * object_sum_bytes;
}

std::uint64_t charged_bytes(std::uint64_t size) { return (object_file_bytes(size) + 4095) / 4096 * 4096; }

std::string object_directory(const std::string& folder, std::uint64_t directory) {
  return folder + "/objects/" + hex_digits(directory, 8);
}

std::string object_path(const std::string& folder, std::uint64_t id) {
  return object_directory(folder, id / objects_per_directory) + "/" + hex_digits(id, 16);
}

ObjectFileWriter::ObjectFileWriter(std::unique_ptr<File> file, std::uint64_t id) : file_(std::move(file)), id_(id) {}

Result<> ObjectFileWriter::write(ByteView bytes) {
  constexpr std::size_t limit = blocks_at_once * object_block_bytes;
  while (!bytes.empty()) {
    const std::size_t step = std::min(bytes.size(), limit - buffer_.size());
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(step));
    bytes = bytes.subspan(step);
    if (buffer_.size() < limit) return {};
    if (auto done = write_blocks(); !done) return done;
  }
  return {};
}

Result<> ObjectFileWriter::write_blocks() {
  std::vector<Sum16> sums(blocks_of(buffer_.size()));
  std::vector<ByteView> pieces;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const ByteView block =
        ByteView(buffer_).subspan(i * object_block_bytes, block_length(buffer_.size(), i));
    sums[i] = block_sum(id_, blocks_written_ + i, block);
    pieces.push_back(sums[i]);
    pieces.push_back(block);
  }
  if (pieces.empty()) return {};
  if (auto done = file_->write_gather(object_header_bytes + blocks_written_ * stride, pieces); !done) return done;
  blocks_written_ += sums.size();
  buffer_.clear();
  return {};
}

Result<> ObjectFileWriter::finish(const ObjectHeader& header) {
  if (auto done = write_blocks(); !done) return done;
  if (auto done = file_->write(0, encode_header(header)); !done) return done;
  if (mutant("store-object-unflushed")) return {};
  return file_->sync();
}

Result<std::unique_ptr<ObjectFileReader>> ObjectFileReader::open(Disk& disk, const std::string& folder,
                                                                 std::uint64_t id) {
  const std::string path = object_path(folder, id);
  auto file = disk.open(path, OpenMode::read);
  if (!file) return fail(file.error());
  Bytes bytes(object_header_bytes);
  auto count = (*file)->read(0, bytes);
  if (!count) return fail(count.error());
  auto header = decode_header(ByteView(bytes).first(*count), id, path);
  if (!header) return fail(header.error());
  return std::unique_ptr<ObjectFileReader>(new ObjectFileReader(std::move(*file), std::move(*header), path));
}

Result<> ObjectFileReader::read_run(std::uint64_t first_block, std::uint64_t blocks) {
  const std::uint64_t last = first_block + blocks - 1;
  run_.resize((blocks - 1) * stride + object_sum_bytes + block_length(header_.size, last));
  auto count = file_->read(object_header_bytes + first_block * stride, run_);
  if (!count) return fail(count.error());
  const Error rotten(Code::corrupt, path_ + " is rotten");
  if (*count != run_.size()) return fail(rotten);
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const ByteView stored = ByteView(run_).subspan(i * stride, object_sum_bytes);
    const ByteView data =
        ByteView(run_).subspan(i * stride + object_sum_bytes, block_length(header_.size, first_block + i));
    const Sum16 sum = block_sum(header_.id, first_block + i, data);
    if (!std::equal(sum.begin(), sum.end(), stored.begin()) && !mutant("rot-handed-out")) return fail(rotten);
  }
  return {};
}

Result<std::size_t> ObjectFileReader::read(std::uint64_t offset, MutableBytes out) {
  if (offset >= header_.size || out.empty()) return std::size_t{0};
  const std::uint64_t length = std::min<std::uint64_t>(out.size(), header_.size - offset);
  std::uint64_t done = 0;
  while (done < length) {
    const std::uint64_t at = offset + done;
    const std::uint64_t first = at / object_block_bytes;
    const std::uint64_t last = (offset + length - 1) / object_block_bytes;
    const std::uint64_t blocks = std::min(blocks_at_once, last - first + 1);
    if (auto read = read_run(first, blocks); !read) return fail(read.error());
    const std::uint64_t run_end = std::min((first + blocks) * object_block_bytes, offset + length);
    for (std::uint64_t here = at; here < run_end;) {
      const std::uint64_t block = here / object_block_bytes;
      const std::uint64_t inside = here % object_block_bytes;
      const std::uint64_t step = std::min(object_block_bytes - inside, run_end - here);
      std::memcpy(out.data() + (here - offset), run_.data() + (block - first) * stride + object_sum_bytes + inside,
                  static_cast<std::size_t>(step));
      here += step;
    }
    done = run_end - offset;
  }
  return static_cast<std::size_t>(length);
}

}  // namespace atl
