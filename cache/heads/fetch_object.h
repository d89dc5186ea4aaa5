// Reads one whole object of metadata from one node.
#pragma once

#include <functional>
#include <string>

#include "cache/heads/object_size.h"
#include "engine/base/bytes.h"
#include "engine/base/clock.h"
#include "engine/engine.h"

namespace atl {

/// Asks for the object's size, then for all of it; `valid` decides whether it is what it should be (an answer that is
/// not counts against the node). One of more than `bytes_max` is not read. Returns at once; `done` runs once, on an engine thread. The engine outlives it.
/// Code::not_found, corrupt (the node's answer was not valid), unavailable, timed_out.
void fetch_object(Engine& engine, NodeId node, std::string object_name, MonotonicTime deadline, std::function<bool(ByteView)> valid,
                  std::function<void(Result<Bytes>)> done, std::uint64_t bytes_max = metadata_object_bytes_max);

}  // namespace atl
