// What a delegate holds of a drive's secrets, and what follows from it: its key at node daemons, the names of its objects on
// nodes and the box in which these travel. Enough to find, verify and rebuild shards; nothing here opens content.
//
// A delegate and its owner exchange objects through the nodes: views (the owner's list of what is to be kept), reports
// (what the delegate stored where), and one mark that says that the owner revoked it. FORMAT.md, "Delegates".
// Immutable; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "cache/erasure/shard_codec.h"
#include "cache/keys/keyring.h"
#include "engine/net/key_pair.h"
#include "engine/net/tls.h"

namespace atl {

using DelegateId = StrongBytes<struct DelegateTag, 8>;

enum class DelegateObject : std::uint8_t { view = 1, report = 2, revoked = 3 };

/// The number of the mark that says that a delegate is revoked; it stands where views do.
inline constexpr std::uint64_t revoked_number = ~std::uint64_t{0};

class DelegateKeys {
 public:
  /// `key` is this delegate's own, `names` the drive's object_name key.
  DelegateKeys(const DelegateId& id, SecretKey key, SecretKey names) : id_(id), key_(std::move(key)), names_(std::move(names)) {}

  const DelegateId& id() const { return id_; }
  const SecretKey& key() const { return key_; }
  const SecretKey& names() const { return names_; }
  /// What it is known by at node daemons.
  KeyPair device() const;
  /// What its certificate for a node lets it do there.
  DelegateRights rights(const NodeId& node) const;

  /// The beginning of the names of this delegate's views, or reports.
  std::string prefix(DelegateObject kind, const NodeId& node) const;
  std::string object_name(DelegateObject kind, std::uint64_t number, const NodeId& node) const;
  /// The number in a name that begins with its prefix; nothing if it is none.
  static std::optional<std::uint64_t> number_of(std::string_view object_name);

  Bytes seal(DelegateObject kind, std::uint64_t number, ByteView plain, Random& random) const;
  /// Code::corrupt unless these bytes were sealed as this, newer_format.
  Result<Bytes> open(DelegateObject kind, std::uint64_t number, ByteView object) const;

 private:
  SecretKey derived(std::string_view purpose) const;

  DelegateId id_;
  SecretKey key_;
  SecretKey names_;
};

/// The beginning of the names of all delegates' views on a node, marks of revocation included; of all reports.
std::string delegate_class_prefix(const SecretKey& names, DelegateObject kind, const NodeId& node);
/// Whose object a listed name stands for, and its number.
std::optional<std::pair<DelegateId, std::uint64_t>> parse_delegate_name(std::string_view object_name);

}  // namespace atl
