#include "cache/drive/live_frames.h"

namespace atl {

std::vector<LiveFrame> find_live_frames(DriveCore& core, SegmentId segment, ByteView bytes) {
  std::vector<LiveFrame> live;
  std::uint64_t at = segment_header_bytes;
  while (at + frame_header_bytes <= bytes.size()) {
    const auto header = core.frames->open(bytes.subspan(at, frame_header_bytes));
    if (!header || at + frame_bytes(header->plain_bytes) > bytes.size()) {
      at += 8;
      continue;
    }
    std::shared_ptr<const ExtentRow> row;
    {
      std::lock_guard lock(core.mutex);
      row = core.tables->extent(header->extent);
    }
    if (row && row->segment == segment && row->offset == at && row->length == header->plain_bytes) {
      live.push_back({header->extent, *row});
      at += frame_bytes(row->length);
    } else {
      at += 8;
    }
  }
  return live;
}

}  // namespace atl
