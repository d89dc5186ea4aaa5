#include "cache/drive/types.h"

namespace atl {

std::string_view to_string(DriveState state) {
  switch (state) {
    case DriveState::unmounted: return "unmounted";
    case DriveState::recovering: return "recovering";
    case DriveState::ready: return "ready";
    case DriveState::offline: return "offline";
    case DriveState::read_only: return "read_only";
    case DriveState::fenced: return "fenced";
    case DriveState::stopping: return "stopping";
  }
  return "unknown";
}

std::string_view to_string(Protection protection) {
  switch (protection) {
    case Protection::none: return "none";
    case Protection::reduced: return "reduced";
    case Protection::protected_: return "protected";
    case Protection::full: return "full";
  }
  return "unknown";
}

}  // namespace atl
