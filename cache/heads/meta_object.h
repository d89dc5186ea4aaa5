// Objects on nodes that are not shards: heads, stretches of the journal, parts of checkpoints, claims of epochs.
//
// Each is sealed whole with XChaCha20-Poly1305 and bound to its drive, kind and identity, so that none can stand for
// another; its size is padded to a class. Every node holds a copy of each: any one node has all metadata, so that
// metadata survives whenever any data does. FORMAT.md, "Objects of metadata".
// Immutable; thread-safe.
#pragma once

#include <optional>
#include <string>

#include "cache/keys/keyring.h"
#include "engine/base/bytes.h"
#include "engine/base/ids.h"
#include "engine/base/random.h"
#include "engine/base/result.h"

namespace atl {

enum class MetaKind : std::uint8_t { head = 1, journal = 2, checkpoint = 3, claim = 4 };

/// Which object: heads by epoch and generation, claims by epoch, all others by a random id.
struct MetaName {
  MetaKind kind = MetaKind::head;
  std::uint32_t epoch = 0;
  std::uint64_t generation = 0;
  PartId id;

  static MetaName head(std::uint32_t epoch, std::uint64_t generation) { return {MetaKind::head, epoch, generation, {}}; }
  static MetaName claim(std::uint32_t epoch) { return {MetaKind::claim, epoch, 0, {}}; }
  static MetaName part(MetaKind kind, PartId id) { return {kind, 0, 0, id}; }
  friend auto operator<=>(const MetaName&, const MetaName&) = default;
};

class MetaSealer {
 public:
  /// Plain bytes of one object; nodes take any larger thing in parts.
  static constexpr std::size_t plain_bytes_max = 8u << 20;

  /// Code::key if the keyring lacks its first epoch.
  static Result<MetaSealer> make(const Keyring& keyring);

  /// At most plain_bytes_max.
  Bytes seal(const MetaName& name, ByteView plain, Random& random) const;
  /// Code::corrupt unless these bytes were sealed under this name, newer_format.
  Result<Bytes> open(const MetaName& name, ByteView object) const;
  /// Bytes of the object that holds so many plain ones.
  static std::size_t object_bytes(std::size_t plain_bytes);

  /// What the object is called on a node: the class's secret prefix of that node, then the identity.
  std::string object_name(const MetaName& name, const NodeId& node) const;
  std::string head_prefix(const NodeId& node) const;
  std::string claim_prefix(const NodeId& node) const;
  /// All but heads and claims.
  std::string part_prefix(const NodeId& node) const;
  /// The head that a listed name stands for.
  std::optional<MetaName> parse_head(std::string_view object_name, const NodeId& node) const;
  std::optional<MetaName> parse_claim(std::string_view object_name, const NodeId& node) const;

 private:
  MetaSealer(const VolumeId& volume, SecretKey seal, SecretKey names) : volume_(volume), seal_(std::move(seal)), names_(std::move(names)) {}
  Bytes associated(const MetaName& name) const;
  std::string prefix(std::string_view purpose, const NodeId& node) const;

  VolumeId volume_;
  SecretKey seal_;
  SecretKey names_;
};

}  // namespace atl
