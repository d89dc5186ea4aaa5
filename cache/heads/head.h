// A head: which journal counts, and where it lies. The root of everything that nodes hold of a drive.
//
// A head names a checkpoint and the stretches of the journal behind it, up to one LSN at which all that lives is on
// nodes. Its epoch says who owns the drive, its generation orders the heads. It is signed (Ed25519) and sealed.
// FORMAT.md, "Head". Values.
#pragma once

#include <vector>

#include "cache/heads/meta_object.h"
#include "cache/journal/journal.h"
#include "engine/engine.h"

namespace atl {

using DeviceId = StrongBytes<struct DeviceTag, 16>;  // one computer's state folder

/// A run of whole journal batches.
struct Stretch {
  Lsn first;
  Lsn last;
  std::uint64_t bytes = 0;  // as packed
  MetaName where;           // a part of its own, or the head that carries it inside
  friend bool operator==(const Stretch&, const Stretch&) = default;
};

struct Head {
  VolumeId volume;
  std::uint32_t epoch = 0;
  std::uint64_t generation = 0;
  DeviceId device;
  Timestamp made_at;
  Lsn lsn;            // the state that this head stands for
  ChainHash chain{};  // of the journal there
  Lsn checkpoint;     // what the checkpoint stands for; the stretches go on from there
  std::uint64_t checkpoint_bytes = 0;
  std::vector<PartId> checkpoint_parts;
  std::vector<Stretch> stretches;
  std::vector<NodeSpec> nodes;
  Bytes wrapped_keyring;  // under the recovery key; empty if the computer that wrote it has none
  /// Records that the state lacks: where segments lie whose placing was logged behind `lsn`.
  Bytes supplement;
  std::uint32_t supplement_count = 0;
  Bytes inside;  // a packed stretch that this head carries itself; may be empty

  MetaName name() const { return MetaName::head(epoch, generation); }
  /// Everything but itself that a machine needs to come back from this head.
  std::vector<MetaName> needs() const;
  friend bool newer(const Head& a, const Head& b) { return std::pair(a.epoch, a.generation) > std::pair(b.epoch, b.generation); }
};

/// Encoded and signed. Code::key.
Result<Bytes> encode_head(const Head& head, const Keyring& keyring);
/// Code::corrupt unless it is whole and signed by the keyring's key, key.
Result<Head> decode_head(ByteView bytes, const Keyring& keyring);

}  // namespace atl
