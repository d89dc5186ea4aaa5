// The recovery kit: one page that, with any k nodes, brings a drive back on a new computer.
//
// The page is for people and for `atoll recover` alike. Its parts are found by marker words in a fixed order and its
// tokens hold no white space, so that line breaks and indentation may be lost without harm, and what a person types has
// a check of its own: words one for all, digits one a line (FORMAT.md, "Recovery kit").
// Pure functions; thread-safe. The text is as secret as the key in it: the caller stores it 0600 and wipes what it can.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cache/erasure/shard_codec.h"
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

/// What stands on the page, piece by piece, for whoever lays it out. Joined by white space in the order of the members,
/// with the markers and numbers before them, the pieces are a kit that parse_kit reads.
struct KitPieces {
  struct NodeEntry {
    std::string url;                 // one token
    std::vector<std::string> digits; // lines
  };
  std::string title;                 // "Atoll recovery kit, format 2"
  std::string drive;                 // one token
  std::string volume;                // digits in groups, and their check
  std::vector<std::string> words;    // 24
  std::vector<NodeEntry> nodes;
  std::vector<std::string> keyring;  // lines of digits in groups, and their check
};
KitPieces kit_pieces(const RecoveryKit& kit);

/// The page as text.
std::string kit_text(const RecoveryKit& kit);
/// The same without the words for people, for a QR code.
std::string kit_code_text(const RecoveryKit& kit);

/// Which nodes a page of at most `most` entries names: enough that any n - k of them may be gone where there is room,
/// spread over labels; those that are being emptied only if there are no others. In the order given.
std::vector<NodeSpec> nodes_for_kit(const std::vector<NodeSpec>& all, Redundancy redundancy, std::size_t most, Random& random);

/// Reads the text, or a PDF that `atoll` made of it. Code::invalid if it is no kit or a part of it is missing or
/// malformed (naming it, and the line that was typed wrongly), newer_format, key as parse_recovery_words does. The
/// wrapped keyring is checked where it is unwrapped.
Result<RecoveryKit> parse_kit(std::string_view text);

/// Bytes as lines of digits, at most 16 bytes each, every line with a check that tells a slip of the finger. `what`
/// enters the check, so that a line cannot stand for another.
std::vector<std::string> checked_lines(ByteView bytes, std::string_view what);
/// One such line, of any grouping. Code::invalid naming `what` and what is wrong.
Result<Bytes> read_checked_line(std::string_view line, std::string_view what);
/// The name under which the keyring's line is checked, from 1.
std::string keyring_line_name(std::size_t number);

}  // namespace atl
