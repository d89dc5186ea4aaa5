// The recovery kit: one page of text that, with any k nodes, brings a drive back on a new computer.
//
// The page is for people and for `atoll recover` alike. Its parts are found by marker words in a fixed order and its
// tokens hold no white space, so that line breaks and indentation may be lost without harm (FORMAT.md, "Recovery kit").
// Pure functions; thread-safe. The text is as secret as the key in it: the caller stores it 0600 and wipes what it can.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cache/keys/keyring.h"
#include "engine/base/bytes.h"
#include "engine/base/ids.h"
#include "engine/base/result.h"
#include "engine/engine.h"

namespace atl {

struct RecoveryKit {
  std::string drive_name;
  VolumeId volume;
  SecretKey key;
  std::vector<NodeSpec> nodes;  // ids and urls; labels are not on the page
  Bytes wrapped_keyring;        // Keyring::wrap under the key
};

std::string kit_text(const RecoveryKit& kit);

/// Code::invalid if the text is no kit or a part of it is missing or malformed (naming it), newer_format, key as
/// parse_recovery_words does. The wrapped keyring is checked where it is unwrapped.
Result<RecoveryKit> parse_kit(std::string_view text);

}  // namespace atl
