// The file that `atoll delegate export` writes and a delegate runs by: who it is, and where the drive's nodes were. All
// else comes from the nodes. As secret as a house key: whoever has it can see which object on a node belongs to which
// shard, and store objects in the owner's account; not read, change or remove anything. FORMAT.md, "Delegates".
#pragma once

#include <string>
#include <vector>

#include "cache/delegate/delegate_keys.h"
#include "cache/delegate/delegate_view.h"

namespace atl {

struct DelegateGrant {
  std::string drive;  // its name on the owner's computer, for people
  VolumeId volume;
  DelegateKeys keys;
  std::vector<DelegatedNode> nodes;
};

std::string encode_delegate_grant(const DelegateGrant& grant);
/// Code::corrupt for what is no such file; newer_format.
Result<DelegateGrant> decode_delegate_grant(std::string_view text);

}  // namespace atl
