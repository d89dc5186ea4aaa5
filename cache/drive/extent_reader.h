// Plain bytes of extents: from memory, the local disk, or nodes, always authenticated.
//
// A damaged local copy is healed from nodes where they have it. A few decrypted extents are kept, since a reader seldom
// asks for a whole one at once. Thread-safe.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <stop_token>

#include "cache/drive/core.h"
#include "cache/drive/segment_fetcher.h"

namespace atl {

class ExtentReader {
 public:
  ExtentReader(DriveCore& core, SegmentFetcher& fetcher) : core_(core), fetcher_(fetcher) {}

  /// Reads [from, +out.size()) of an extent that has this row; the reader goes on to `until` of its segment, if that lies
  /// behind. Code::not_found: it moved; look it up again. corrupt, io, too_few_nodes, timed_out, cancelled, unavailable.
  Result<> read(ExtentId extent, const ExtentRow& row, std::uint32_t from, MutableBytes out, std::uint64_t until, MonotonicTime deadline,
                const std::stop_token& stop);
  /// Reads the sealed frame, header included, and checks that it opens.
  Result<Bytes> read_frame(ExtentId extent, const ExtentRow& row, MonotonicTime deadline, const std::stop_token& stop);
  void forget_cached();

 private:
  struct Cached {
    ExtentId extent;
    std::shared_ptr<const Bytes> plain;
  };

  std::shared_ptr<const Bytes> find_cached(ExtentId extent);
  void keep(ExtentId extent, std::shared_ptr<const Bytes> plain);
  /// Reads and opens the whole extent into `out`, row.length bytes.
  Result<> open_whole(ExtentId extent, const ExtentRow& row, MutableBytes out, std::uint64_t until, MonotonicTime deadline,
                      const std::stop_token& stop, Bytes* frame_out);

  DriveCore& core_;
  SegmentFetcher& fetcher_;
  std::mutex mutex_;
  std::list<Cached> cached_;  // most recent first
};

}  // namespace atl
