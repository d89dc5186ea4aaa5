// Changes to the map of one file: which piece of which extent stands at which place. Part of the fold.
//
// Both keep extents' reference counts and segments' live counts; an extent that loses its last piece is removed.
// `row` is the file's inode row, of which mapped_bytes is updated; the caller stores it.
#pragma once

#include <vector>

#include "cache/index/tables.h"
#include "cache/journal/record.h"

namespace atl {

/// Makes [offset, offset + length) a hole.
void unmap_range(Tables& tables, InodeNumber inode, InodeRow& row, std::uint64_t offset, std::uint64_t length);

/// Maps pieces one after another from `offset` on, in place of what stood there.
void map_range(Tables& tables, InodeNumber inode, InodeRow& row, std::uint64_t offset, const std::vector<Shared::Piece>& pieces);

}  // namespace atl
