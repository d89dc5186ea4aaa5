// The bytes of a journal file: its header and its batches (FORMAT.md, "Journal"). Integers are little-endian.
//
// File header, 128 bytes:
//   0 magic "ATLJOURN" | 8 version u16 | 10 zero u16 | 12 zero u32 | 16 volume 16 | 32 file bytes u64
//   40 first LSN u64 | 48 previous chain hash 32 | 80 key check 16 | 96 keyed hash of [0, 96) 24
//   120 plain hash of [0, 120) 8, which every version keeps there, so that a newer file is told from a damaged one
// Batch, at a multiple of 8:
//   0 magic "ATLB" | 4 body bytes u32 | 8 first LSN u64 | 16 records u32 | 20 zero u32 | 24 previous chain hash 32
//   56 keyed hash of [0, 56) 8 | 64 body | chain hash 32: keyed, over header and body | zeros to a multiple of 8
// Hashes are BLAKE2b; keyed ones use a key derived from the drive's journal key.
// JournalCodec is immutable and thread-safe.
#pragma once

#include <optional>
#include <string>

#include "cache/journal/journal.h"

namespace atl {

inline constexpr std::size_t journal_file_header_bytes = 128;
inline constexpr std::size_t journal_batch_header_bytes = 64;
inline constexpr std::size_t journal_batch_alignment = 8;
inline constexpr std::uint16_t journal_format_version = 1;
inline constexpr std::uint32_t journal_batch_magic = 0x424C5441;  // "ATLB"

struct JournalFileHeader {
  std::uint64_t file_bytes = 0;
  Lsn first;
  ChainHash previous{};
};

struct JournalBatchHeader {
  std::uint32_t body_bytes = 0;
  Lsn first;
  std::uint32_t count = 0;
  ChainHash previous{};
};

class JournalCodec {
 public:
  JournalCodec(const SecretKey& journal_key, const VolumeId& volume);

  /// What an empty journal's chain starts from.
  ChainHash genesis() const;

  Bytes encode_file_header(const JournalFileHeader& header) const;
  /// Code::newer_format, Code::key (sound, but of another key or volume), corrupt; each naming `path`.
  Result<JournalFileHeader> decode_file_header(ByteView bytes, const std::string& path) const;

  /// Bytes that a batch takes in a file.
  static std::uint64_t batch_bytes(std::uint64_t body_bytes) {
    const std::uint64_t raw = journal_batch_header_bytes + body_bytes + sizeof(ChainHash);
    return (raw + journal_batch_alignment - 1) / journal_batch_alignment * journal_batch_alignment;
  }
  /// Replaces `out` with the batch as it lies in the file; returns its chain hash.
  ChainHash encode_batch(Lsn first, std::uint32_t count, const ChainHash& previous, ByteView body, Bytes& out) const;
  /// Absent unless these 64 bytes are a header that this key made.
  std::optional<JournalBatchHeader> decode_batch_header(ByteView bytes) const;
  /// `batch` is header, body and chain hash. Absent unless the hash fits.
  std::optional<ChainHash> verify_batch(ByteView batch) const;

 private:
  SecretKey key_;
  VolumeId volume_;
};

}  // namespace atl
