// The recovery kit as a PDF of one A4 page: words and digits to type, and a QR code that holds them all.
//
// Its text, taken out with any tool, and the code's are kits that parse_kit reads; so is the file itself. Blocking, some
// ten milliseconds; thread-safe.
#pragma once

#include <string>

#include "cache/drive/recovery_kit.h"
#include "engine/base/result.h"

namespace atl {

/// More entries do not fit on the page beside a keyring of some epochs.
inline constexpr std::size_t kit_page_nodes_max = 12;

/// The PDF's bytes, as secret as the kit. Code::unsupported where the libraries that draw it are not installed,
/// too_large for a kit whose code would be larger than QR codes are.
Result<std::string> kit_page_pdf(const RecoveryKit& kit);

}  // namespace atl
