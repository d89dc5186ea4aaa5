// The fold: what one journal record does to the state. A function of the record and the state alone: no clock, no
// randomness. The live drive, crash recovery and a rebuild run this one function.
#pragma once

#include <vector>

#include "cache/index/tables.h"
#include "cache/journal/record.h"

namespace atl {

/// Applies `record`. Code::corrupt if it contradicts the state (a journal that no drive wrote); the state is then in
/// pieces and must not be used further.
Result<> fold(const Record& record, Tables& tables);

/// The pieces of a file that touch [offset, offset + length), clipped to it, in order.
std::vector<MapPiece> pieces_in(Tables& tables, InodeNumber inode, std::uint64_t offset, std::uint64_t length);

}  // namespace atl
