// POSIX access control lists, as acl(5) and the kernel define them, over the bytes of the system.posix_acl_*
// attributes: what a new inode inherits, and how a list and the permission bits follow each other.
//
// The kernel checks access (default_permissions); this keeps what it checks consistent. Pure functions; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/result.h"

namespace atl {

inline constexpr std::string_view acl_access_name = "system.posix_acl_access";
inline constexpr std::string_view acl_default_name = "system.posix_acl_default";

enum class AclTag : std::uint16_t {
  user_obj = 0x01,   // the owner
  user = 0x02,       // a named user
  group_obj = 0x04,  // the owning group
  group = 0x08,      // a named group
  mask = 0x10,       // the most that users, group_obj and groups get
  other = 0x20,
};

struct AclEntry {
  static constexpr std::uint32_t no_id = 0xffffffff;

  AclTag tag = AclTag::other;
  std::uint16_t permissions = 0;  // 0..7, as in a mode
  std::uint32_t id = no_id;       // of a named user or group
  friend bool operator==(const AclEntry&, const AclEntry&) = default;
};

/// Entries in the kernel's order: user_obj, users, group_obj, groups, mask, other. Without entries: no list, which is
/// what setting a list of none asks for.
struct Acl {
  std::vector<AclEntry> entries;
  friend bool operator==(const Acl&, const Acl&) = default;
};

/// Reads an attribute's value. Code::unsupported for a version other than 2 (as the kernel answers), invalid for
/// whatever acl_valid(3) refuses: a missing, repeated or misplaced entry, named entries without a mask.
Result<Acl> parse_acl(ByteView value);
/// The attribute's value. `acl` came from parse_acl or from the functions below.
Bytes serialize_acl(const Acl& acl);

/// What a new inode gets in a directory that has a default list.
struct InheritedAcl {
  std::uint32_t mode = 0;          // type bits as given
  std::optional<Acl> access;       // absent where the mode says the same
  std::optional<Acl> default_acl;  // directories only
};
/// `mode` is as the caller asked for it, without umask: a default list takes the umask's place. Symbolic links inherit
/// nothing: do not ask for them. `default_acl` has entries.
InheritedAcl inherit_acl(const Acl& default_acl, std::uint32_t mode, bool is_directory);

/// What setting an access list does to the mode.
struct AclMode {
  std::uint32_t mode = 0;   // other bits as given; the group's are the mask's, if there is one
  bool equivalent = false;  // the mode says all: the list need not be stored
};
/// `acl` has entries.
AclMode mode_from_acl(const Acl& acl, std::uint32_t mode);

/// The access list after chmod: owner, mask (group_obj if there is none) and other follow the mode.
Acl acl_with_mode(Acl acl, std::uint32_t mode);

}  // namespace atl
