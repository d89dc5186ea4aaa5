// Changing who stores for a drive.
#pragma once

#include "cache/drive/drive.h"

namespace atl {

/// Adds a node to a drive that Drive::open gave, started or not, or gives one that is known by its id another address and
/// labels. Durable on success; a started drive's engine takes it up within seconds, its nodes are told as of any change.
/// Any thread. Errors as of any change (drive.h).
Result<> put_node(Drive& drive, const NodeSpec& node);

}  // namespace atl
