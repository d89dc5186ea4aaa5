#include "cache/index/file_map.h"

#include <algorithm>

#include "cache/staging/segment_store.h"

namespace atl {
namespace {

ExtentRow existing_extent(Tables& tables, ExtentId id) {
  const auto row = tables.extent(id);
  if (!row) throw IndexFailure(Error(Code::corrupt, "the index lacks extent " + std::to_string(id.value)));
  return *row;
}

void add_reference(Tables& tables, ExtentId id) {
  ExtentRow extent = existing_extent(tables, id);
  ++extent.references;
  tables.put_extent(id, extent);
}

void drop_reference(Tables& tables, ExtentId id) {
  ExtentRow extent = existing_extent(tables, id);
  if (--extent.references > 0) {
    tables.put_extent(id, extent);
    return;
  }
  SegmentRow& segment = tables.change_segment(extent.segment);
  segment.live_bytes -= frame_bytes(extent.length);
  --segment.live_extents;
  tables.cut_extent(id, extent);
}

void count_mapped(Tables& tables, InodeRow& row, std::int64_t bytes) {
  row.mapped_bytes += static_cast<std::uint64_t>(bytes);
  tables.change_volume().mapped_bytes += static_cast<std::uint64_t>(bytes);
}

/// Cuts [begin, end) out of a window's pieces. References of cut pieces are dropped, of split ones added.
void cut_pieces(Tables& tables, InodeRow& row, std::vector<MapPiece>& pieces, std::uint64_t begin, std::uint64_t end) {
  const auto first = std::partition_point(pieces.begin(), pieces.end(), [&](const MapPiece& p) { return p.end() <= begin; });
  auto last = first;
  std::vector<MapPiece> kept;  // at most the head of the first and the tail of the last
  std::vector<ExtentId> dropped;
  for (; last != pieces.end() && last->offset < end; ++last) {
    const MapPiece piece = *last;
    count_mapped(tables, row, -static_cast<std::int64_t>(std::min(piece.end(), end) - std::max(piece.offset, begin)));
    int parts = 0;
    if (piece.offset < begin) {
      kept.push_back({piece.offset, begin - piece.offset, piece.extent, piece.extent_offset});
      ++parts;
    }
    if (piece.end() > end) {
      kept.push_back({end, piece.end() - end, piece.extent, piece.extent_offset + static_cast<std::uint32_t>(end - piece.offset)});
      ++parts;
    }
    if (parts == 0) dropped.push_back(piece.extent);
    if (parts == 2) add_reference(tables, piece.extent);
  }
  const auto at = pieces.erase(first, last);
  pieces.insert(at, kept.begin(), kept.end());
  for (ExtentId extent : dropped) drop_reference(tables, extent);
}

}  // namespace

void unmap_range(Tables& tables, InodeNumber inode, InodeRow& row, std::uint64_t offset, std::uint64_t length) {
  if (length == 0 || row.mapped_bytes == 0) return;
  const std::uint64_t end = offset + length;
  for (std::uint64_t window : tables.windows(inode, offset / window_bytes, (end - 1) / window_bytes)) {
    const auto found = tables.window({inode, window});
    if (!found) continue;
    WindowRow changed = *found;
    cut_pieces(tables, row, changed.pieces, offset, end);
    tables.put_window({inode, window}, std::move(changed));
  }
}

void map_range(Tables& tables, InodeNumber inode, InodeRow& row, std::uint64_t offset, const std::vector<Shared::Piece>& pieces) {
  // New references first: a piece may come from the very range that it replaces.
  for (const Shared::Piece& piece : pieces)
    if (piece.extent.value != 0) add_reference(tables, piece.extent);

  std::uint64_t at = offset;
  for (const Shared::Piece& piece : pieces) {
    if (piece.extent.value == 0) unmap_range(tables, inode, row, at, piece.length);
    // A piece is split where a window ends.
    std::uint64_t done = 0;
    while (piece.extent.value != 0 && done < piece.length) {
      const std::uint64_t begin = at + done;
      const std::uint64_t window = begin / window_bytes;
      const std::uint64_t length = std::min(piece.length - done, (window + 1) * window_bytes - begin);
      const auto found = tables.window({inode, window});
      WindowRow changed = found ? *found : WindowRow{};
      cut_pieces(tables, row, changed.pieces, begin, begin + length);
      const auto place = std::partition_point(changed.pieces.begin(), changed.pieces.end(),
                                              [&](const MapPiece& p) { return p.offset < begin; });
      changed.pieces.insert(place, {begin, length, piece.extent, piece.extent_offset + static_cast<std::uint32_t>(done)});
      if (done > 0) add_reference(tables, piece.extent);
      count_mapped(tables, row, static_cast<std::int64_t>(length));
      tables.put_window({inode, window}, std::move(changed));
      done += length;
    }
    at += piece.length;
  }
}

}  // namespace atl
