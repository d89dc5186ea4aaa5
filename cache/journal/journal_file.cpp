#include "cache/journal/journal_file.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/base/mutant.h"

namespace atl {
namespace {

constexpr std::size_t scan_window_bytes = 256 * 1024;

std::uint32_t word_at(ByteView bytes, std::size_t offset) {
  return static_cast<std::uint32_t>(bytes[offset]) | static_cast<std::uint32_t>(bytes[offset + 1]) << 8 |
         static_cast<std::uint32_t>(bytes[offset + 2]) << 16 | static_cast<std::uint32_t>(bytes[offset + 3]) << 24;
}

}  // namespace

tl::unexpected<Error> journal_damage(const std::string& path, std::uint64_t offset, const std::string& what) {
  return fail(Code::corrupt, "the journal file " + path + " is damaged at byte " + std::to_string(offset) + ": " + what,
              "nothing was changed; restore the file from a copy, or recover the drive from its nodes");
}

JournalFileReader::JournalFileReader(File& file, const JournalCodec& codec, std::string path)
    : file_(file), codec_(codec), path_(std::move(path)) {}

Result<> JournalFileReader::read_exactly(std::uint64_t offset, MutableBytes out) {
  auto count = file_.read(offset, out);
  if (!count) return fail(count.error());
  if (*count != out.size()) return journal_damage(path_, offset + *count, "the file ends here");
  return {};
}

Result<> JournalFileReader::begin() {
  Bytes bytes(journal_file_header_bytes);
  if (auto read = read_exactly(0, bytes); !read) return read;
  auto header = codec_.decode_file_header(bytes, path_);
  if (!header) return fail(header.error());
  auto size = file_.size();
  if (!size) return fail(size.error());
  if (*size < header->file_bytes)
    return journal_damage(path_, *size, "the file was cut here, its header says " + std::to_string(header->file_bytes));
  header_ = *header;
  offset_ = journal_file_header_bytes;
  next_lsn_ = header_.first;
  chain_ = header_.previous;
  return {};
}

Result<std::optional<JournalBatchHeader>> JournalFileReader::read_batch(std::uint64_t offset) {
  const std::optional<JournalBatchHeader> none;
  if (offset + JournalCodec::batch_bytes(0) > header_.file_bytes) return none;
  buffer_.resize(journal_batch_header_bytes);
  if (auto read = read_exactly(offset, buffer_); !read) return fail(read.error());
  const auto header = codec_.decode_batch_header(buffer_);
  if (!header || offset + JournalCodec::batch_bytes(header->body_bytes) > header_.file_bytes) return none;
  buffer_.resize(journal_batch_header_bytes + header->body_bytes + sizeof(ChainHash));
  auto rest = MutableBytes(buffer_).subspan(journal_batch_header_bytes);
  if (auto read = read_exactly(offset + journal_batch_header_bytes, rest); !read) return fail(read.error());
  if (!codec_.verify_batch(buffer_)) return none;
  return header;
}

Result<std::optional<JournalBatch>> JournalFileReader::next() {
  const std::optional<JournalBatch> none;
  auto header = read_batch(offset_);
  if (!header) return fail(header.error());
  if (!*header || (*header)->first != next_lsn_ || (*header)->count == 0) return none;
  if ((*header)->previous != chain_ && !mutant("journal-unchained")) return none;
  JournalBatch batch;
  batch.first = (*header)->first;
  batch.count = (*header)->count;
  batch.previous = chain_;
  batch.body = ByteView(buffer_).subspan(journal_batch_header_bytes, (*header)->body_bytes);
  std::copy(buffer_.end() - sizeof(ChainHash), buffer_.end(), batch.chain.begin());
  chain_ = batch.chain;
  next_lsn_ = Lsn(batch.first.value + batch.count);
  offset_ += JournalCodec::batch_bytes(batch.body.size());
  return std::optional<JournalBatch>(batch);
}

Result<JournalFileReader::Tail> JournalFileReader::tail_from(std::uint64_t offset, Lsn next) {
  Tail tail;
  tail.used_end = offset;
  Bytes window;
  for (std::uint64_t at = offset; at < header_.file_bytes; at += scan_window_bytes) {
    window.resize(static_cast<std::size_t>(std::min<std::uint64_t>(scan_window_bytes, header_.file_bytes - at)));
    if (auto read = read_exactly(at, window); !read) return fail(read.error());
    if (window[0] == 0 && std::memcmp(window.data(), window.data() + 1, window.size() - 1) == 0) continue;
    const auto last = std::find_if(window.rbegin(), window.rend(), [](std::uint8_t byte) { return byte != 0; });
    const auto used = static_cast<std::size_t>(window.rend() - last);
    tail.used_end = at + used;
    for (std::size_t i = 0; i + sizeof(std::uint32_t) <= window.size() && i < used; i += journal_batch_alignment) {
      if (word_at(window, i) != journal_batch_magic) continue;
      auto batch = read_batch(at + i);
      if (!batch) return fail(batch.error());
      // An older batch can only be a copy inside a record's bytes; a later one was committed here.
      if (*batch && (*batch)->first >= next && !tail.valid_batch) tail.valid_batch = at + i;
    }
  }
  return tail;
}

}  // namespace atl
