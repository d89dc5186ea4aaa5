// Which frames of a segment live: those that the index still points to.
#pragma once

#include <vector>

#include "cache/drive/core.h"

namespace atl {

struct LiveFrame {
  ExtentId extent;
  ExtentRow row;
};

/// Finds the live frames of a segment in its bytes, in order. Frames begin at multiples of 8; a place counts as a frame
/// only if the index agrees, so that holes left by a crash and damaged headers hide nothing behind them. Takes the state
/// lock in small steps. Throws IndexFailure.
std::vector<LiveFrame> find_live_frames(DriveCore& core, SegmentId segment, ByteView bytes);

}  // namespace atl
