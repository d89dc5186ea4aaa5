// Segment files on the local disk: what is staged (only here so far) and what is cached (nodes hold it as well).
//
// A segment is an append-only run of frames, each a sealed extent with a small plain header (FORMAT.md, "Segment").
// The store keeps bytes; which extents live, and where nodes hold them, is the index's business.
//
// A staged file (staging/ID.seg) holds all of its segment. A cached file is whole (cache/ID.seg) or holds only some
// blocks of cache_block_bytes (cache/ID.part); which, is kept in memory and in a side file written at close(). After a
// crash partial files are thrown away, whole ones kept.
// Cached bytes are never trusted: every extent is opened (AEAD) by its reader.
// Thread-safe. Handles stay readable after the file was removed or evicted.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/disk.h"
#include "engine/base/ids.h"
#include "engine/base/result.h"

namespace atl {

inline constexpr std::uint32_t segment_header_bytes = 64;
inline constexpr std::uint32_t frame_header_bytes = 16;
inline constexpr std::uint32_t cache_block_bytes = 64 * 1024;

/// A segment's local file, pinned.
class SegmentFile {
 public:
  virtual ~SegmentFile() = default;
  virtual SegmentId id() const = 0;
  /// Bytes of the segment, header included; grows while it is open for appending.
  virtual std::uint64_t size() const = 0;
  /// Whether the local file has all of [offset, offset + length).
  virtual bool holds(std::uint64_t offset, std::uint64_t length) const = 0;
  /// Reads a range that holds() — Code::io or corrupt otherwise.
  virtual Result<> read(std::uint64_t offset, MutableBytes out) = 0;
  /// Writes at a reserved place of a staged segment: up to its capacity, once finished up to its size. Code::no_space,
  /// io; invalid for a cached one.
  virtual Result<> write(std::uint64_t offset, ByteView in) = 0;
  /// Makes staged bytes durable. After a failure the segment refuses further writes (Code::io) and must be replaced.
  virtual Result<> sync() = 0;
  /// Adds blocks that came from nodes and were verified: `offset` a multiple of cache_block_bytes, any length. Cached
  /// files only; failure to cache is not an error to anyone.
  virtual void fill(std::uint64_t offset, ByteView blocks) = 0;
  /// [offset, offset + length) mapped for reading, if that is local.
  virtual Result<std::shared_ptr<const std::uint8_t>> map(std::uint64_t offset, std::uint64_t length) = 0;
};

struct FrameHeader {
  ExtentId extent;
  std::uint32_t plain_bytes = 0;
  std::uint32_t epoch = 0;  // KeyEpoch
};
/// 16 bytes: extent id u64, plain bytes u32 with the top 8 bits free for flags (0), key epoch u16, check u16 — as
/// FORMAT.md says. decode: Code::corrupt if the check fails or the lengths are absurd.
void encode_frame_header(const FrameHeader& header, std::span<std::uint8_t, frame_header_bytes> out);
Result<FrameHeader> decode_frame_header(ByteView bytes);

/// Bytes that an extent occupies in a segment: header, nonce, ciphertext, tag, and noise up to a multiple of 8.
std::uint64_t frame_bytes(std::uint32_t plain_bytes);

struct SegmentStoreUsage {
  std::uint64_t staged_bytes = 0;  // as written so far; what is reserved beyond is not counted
  std::uint64_t cached_bytes = 0;  // blocks held
};

class SegmentStore {
 public:
  /// `staged` tells, from the index, which segments are not yet on nodes in full: their files must be kept. Files of
  /// segments for which it answers `unknown` are left over from a crash and are removed.
  enum class Standing { staged, cached, unknown };
  /// Opens the directories `directory`/staging and `directory`/cache, creating them if absent. A staged file that was
  /// being written when a crash came has its reserved size until finish() says the true one. Code::newer_format, and
  /// Code::key for a staged file of another drive, naming it; nothing was removed then.
  static Result<std::unique_ptr<SegmentStore>> open(Disk& disk, const std::string& directory, const VolumeId& volume,
                                                    const std::function<Standing(SegmentId)>& standing);
  virtual ~SegmentStore() = default;
  /// Writes down what the partial cached files hold. Handles stay readable; nothing is cached or created any more.
  virtual Result<> close() = 0;

  /// A new staged segment of at most `capacity` bytes, its header written, disk space reserved, name durable.
  /// Code::no_space, exists.
  virtual Result<std::shared_ptr<SegmentFile>> create(SegmentId id, std::uint64_t capacity) = 0;
  /// No more appends: the size is fixed, durably, and unused reserved space is given back. Code::corrupt if the file,
  /// found by open(), is shorter.
  virtual Result<> finish(SegmentId id, std::uint64_t size) = 0;
  /// The local file, whole or partial; nullptr if there is none. Marks it as used now. Should the disk refuse to open
  /// it, the handle's operations say so.
  virtual std::shared_ptr<SegmentFile> find(SegmentId id) = 0;
  /// The cached file of a segment of `size` bytes that nodes hold, created empty if absent.
  virtual Result<std::shared_ptr<SegmentFile>> find_or_create_cached(SegmentId id, std::uint64_t size) = 0;
  /// A staged segment is on nodes in full: from now on it is cache and may be evicted. Not durable, and need not be:
  /// the next open() puts each file where `standing` says. Code::not_found if there is no local file.
  virtual Result<> mark_cached(SegmentId id) = 0;
  /// The segment is dead, or its cached copy unwanted. Code::not_found if there is no local file.
  virtual Result<> remove(SegmentId id) = 0;
  /// Evicts least recently used cached files until at most `limit` cached bytes remain. Returns bytes given back.
  virtual std::uint64_t shrink_cache(std::uint64_t limit) = 0;
  virtual SegmentStoreUsage usage() const = 0;
};

/// Walks the frames of a segment file for `atoll inspect` and check: offset of the frame, its header. `open` decodes a
/// header from the 16 bytes on disk (FrameCipher). Steps over what holds no frame: blanked or never written places.
/// Code::corrupt or newer_format if the file's own header says so.
Result<> inspect_segment_file(Disk& disk, const std::string& path,
                              const std::function<Result<FrameHeader>(ByteView)>& open,
                              const std::function<void(std::uint64_t offset, const FrameHeader&)>& visit);

}  // namespace atl
