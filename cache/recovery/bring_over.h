// Files of one drive copied into a folder of another, with everything that they are: names below the folder as they were,
// modes, owners, times, attributes, links, holes. Blocking; one caller; both drives outlive it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cache/drive/changes.h"
#include "cache/drive/drive.h"

namespace atl {

struct Brought {
  std::string folder;               // its name in the root; empty: there was nothing to bring
  std::uint64_t files = 0;          // and folders for their own sake
  std::uint64_t bytes = 0;
  std::vector<std::string> partly;  // paths of which not every byte could be read; what could is there
};

/// Copies what `wanted` says yes to (its inode, as it is in `from`) into a new folder in the root of `to`, called `name`, or
/// that and a number where it is taken. Folders on the way are made as they are in `from`. Not durable before a commit of
/// `to`. Code::no_space, and what else `to` answers to changes; what `from` does not give is told in `partly`.
Result<Brought> bring_over(Drive& from, Drive& to, const std::string& name, const std::function<bool(const Attributes&)>& wanted,
                           const std::function<void(const Brought&)>& progress);

/// What to bring where two histories parted: what `changes` names, in the drive that they were made in; where nothing is
/// known of these, all that looks different in `to`, which outlives the answer.
std::function<bool(const Attributes&)> beyond_parting(std::optional<Changes> changes, Drive& to);

}  // namespace atl
