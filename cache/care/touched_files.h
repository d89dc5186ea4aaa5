// Which files something touches, by name: for people, after damage. Reads the whole index, several times; memory grows
// with the number of folders. Errors are the index's; throws IndexFailure.
#pragma once

#include <set>

#include "cache/care/check.h"
#include "cache/index/index_store.h"

namespace atl {

/// The names of inodes; one that has several gets the first.
Result<TouchedFiles> name_inodes(IndexStore& index, const std::set<InodeNumber>& inodes);
/// The files that show something of these segments.
Result<TouchedFiles> files_in(IndexStore& index, const std::set<SegmentId>& segments);

}  // namespace atl
