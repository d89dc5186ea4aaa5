#include "cache/drive/acl.h"

#include <cassert>

#include "engine/base/codec.h"

namespace atl {

namespace {

constexpr std::uint32_t version = 2;
constexpr std::size_t entry_bytes = 8;
constexpr std::uint32_t permission_bits = 0777;

bool named(AclTag tag) {
  return tag == AclTag::user || tag == AclTag::group;
}

/// One pass in the kernel's order; a list of none is not valid.
bool valid(const std::vector<AclEntry>& entries) {
  enum class Expect { user_obj, users, groups, other, nothing } expect = Expect::user_obj;
  bool needs_mask = false;
  for (const AclEntry& entry : entries) {
    if ((entry.permissions & ~7u) != 0) return false;
    if (named(entry.tag) && entry.id == AclEntry::no_id) return false;
    switch (entry.tag) {
      case AclTag::user_obj:
        if (expect != Expect::user_obj) return false;
        expect = Expect::users;
        break;
      case AclTag::user:
        if (expect != Expect::users) return false;
        needs_mask = true;
        break;
      case AclTag::group_obj:
        if (expect != Expect::users) return false;
        expect = Expect::groups;
        break;
      case AclTag::group:
        if (expect != Expect::groups) return false;
        needs_mask = true;
        break;
      case AclTag::mask:
        if (expect != Expect::groups) return false;
        expect = Expect::other;
        break;
      case AclTag::other:
        if (expect != Expect::other && !(expect == Expect::groups && !needs_mask)) return false;
        expect = Expect::nothing;
        break;
      default:
        return false;
    }
  }
  return expect == Expect::nothing;
}

/// The entry that stands for the mode's group bits.
AclEntry& group_class(std::vector<AclEntry>& entries) {
  AclEntry* found = nullptr;
  for (AclEntry& entry : entries)
    if (entry.tag == AclTag::mask || (entry.tag == AclTag::group_obj && found == nullptr)) found = &entry;
  assert(found != nullptr);
  return *found;
}

}  // namespace

Result<Acl> parse_acl(ByteView value) {
  const auto malformed = [] { return fail(Code::invalid, "the access control list is malformed"); };
  Decoder decoder(value);
  const std::uint32_t found_version = decoder.u32();
  if (!decoder.ok()) return malformed();
  if (found_version != version)
    return fail(Code::unsupported,
                "access control lists of version " + std::to_string(found_version) + " are not known");
  if (decoder.remaining() % entry_bytes != 0) return malformed();
  Acl acl;
  acl.entries.reserve(decoder.remaining() / entry_bytes);
  while (decoder.remaining() > 0) {
    AclEntry entry;
    entry.tag = static_cast<AclTag>(decoder.u16());
    entry.permissions = decoder.u16();
    const std::uint32_t id = decoder.u32();
    if (named(entry.tag)) entry.id = id;  // elsewhere it means nothing
    acl.entries.push_back(entry);
  }
  if (!acl.entries.empty() && !valid(acl.entries)) return malformed();
  return acl;
}

Bytes serialize_acl(const Acl& acl) {
  Bytes out;
  out.reserve(4 + acl.entries.size() * entry_bytes);
  Encoder encoder(out);
  encoder.u32(version);
  for (const AclEntry& entry : acl.entries) {
    encoder.u16(static_cast<std::uint16_t>(entry.tag));
    encoder.u16(entry.permissions);
    encoder.u32(named(entry.tag) ? entry.id : AclEntry::no_id);
  }
  return out;
}

InheritedAcl inherit_acl(const Acl& default_acl, std::uint32_t mode, bool is_directory) {
  assert(valid(default_acl.entries));
  Acl access = default_acl;
  // The caller's mode can only take away: from the owner, from the group class as a whole, and from others.
  const auto restrict_to = [](AclEntry& entry, std::uint32_t bits) {
    entry.permissions = static_cast<std::uint16_t>(entry.permissions & bits & 7);
  };
  for (AclEntry& entry : access.entries) {
    if (entry.tag == AclTag::user_obj) restrict_to(entry, mode >> 6);
    if (entry.tag == AclTag::other) restrict_to(entry, mode);
  }
  restrict_to(group_class(access.entries), mode >> 3);

  const AclMode result = mode_from_acl(access, mode);
  InheritedAcl inherited{result.mode, std::nullopt, std::nullopt};
  if (!result.equivalent) inherited.access = std::move(access);
  if (is_directory) inherited.default_acl = default_acl;
  return inherited;
}

AclMode mode_from_acl(const Acl& acl, std::uint32_t mode) {
  assert(valid(acl.entries));
  std::uint32_t bits = 0;
  bool equivalent = true;
  for (const AclEntry& entry : acl.entries) {
    const std::uint32_t permissions = entry.permissions;
    switch (entry.tag) {
      case AclTag::user_obj:
        bits |= permissions << 6;
        break;
      case AclTag::group_obj:
        bits |= permissions << 3;
        break;
      case AclTag::other:
        bits |= permissions;
        break;
      case AclTag::mask:
        bits = (bits & ~070u) | permissions << 3;
        equivalent = false;
        break;
      case AclTag::user:
      case AclTag::group:
        equivalent = false;
        break;
    }
  }
  return {(mode & ~permission_bits) | bits, equivalent};
}

Acl acl_with_mode(Acl acl, std::uint32_t mode) {
  assert(valid(acl.entries));
  for (AclEntry& entry : acl.entries) {
    if (entry.tag == AclTag::user_obj) entry.permissions = mode >> 6 & 7;
    if (entry.tag == AclTag::other) entry.permissions = mode & 7;
  }
  group_class(acl.entries).permissions = mode >> 3 & 7;
  return acl;
}

}  // namespace atl
