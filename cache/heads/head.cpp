#include "cache/heads/head.h"

#include <sodium.h>

#include "cache/index/rows.h"
#include "engine/base/mutant.h"
#include "engine/base/time_codec.h"

namespace atl {
namespace {

constexpr std::uint8_t version = 1;
constexpr std::uint64_t list_max = 1u << 20;  // no list in a head is longer: a bound for what is decoded

struct Signer {
  std::array<std::uint8_t, crypto_sign_PUBLICKEYBYTES> open{};
  std::array<std::uint8_t, crypto_sign_SECRETKEYBYTES> secret{};
  ~Signer() { sodium_memzero(secret.data(), secret.size()); }
};

Result<std::unique_ptr<Signer>> signer_of(const Keyring& keyring) {
  auto seed = keyring.derive(KeyEpoch{1}, KeyPurpose::signing);
  if (!seed) return fail(seed.error());
  auto signer = std::make_unique<Signer>();
  crypto_sign_seed_keypair(signer->open.data(), signer->secret.data(), seed->data());
  return signer;
}

}  // namespace

std::vector<MetaName> Head::needs() const {
  std::vector<MetaName> names;
  for (const PartId& id : checkpoint_parts) names.push_back(MetaName::part(MetaKind::checkpoint, id));
  for (const Stretch& stretch : stretches)
    if (stretch.where != name()) names.push_back(stretch.where);
  return names;
}

Result<Bytes> encode_head(const Head& head, const Keyring& keyring) {
  Bytes bytes;
  Encoder out(bytes);
  out.u8(version);
  out.id(head.volume);
  out.varint(head.epoch);
  out.varint(head.generation);
  out.id(head.device);
  put_time(out, head.made_at);
  out.id(head.lsn);
  out.raw(head.chain);
  out.id(head.checkpoint);
  out.varint(head.checkpoint_bytes);
  out.varint(head.checkpoint_parts.size());
  for (const PartId& id : head.checkpoint_parts) out.id(id);
  out.varint(head.stretches.size());
  for (const Stretch& stretch : head.stretches) {
    out.id(stretch.first);
    out.id(stretch.last);
    out.varint(stretch.bytes);
    out.u8(static_cast<std::uint8_t>(stretch.where.kind));
    if (stretch.where.kind == MetaKind::head) {
      out.varint(stretch.where.epoch);
      out.varint(stretch.where.generation);
    } else {
      out.id(stretch.where.id);
    }
  }
  out.varint(head.nodes.size());
  for (const NodeSpec& node : head.nodes) {
    Bytes row;
    encode_node(node, row);
    out.blob(row);
  }
  out.blob(head.wrapped_keyring);
  out.varint(head.supplement_count);
  out.blob(head.supplement);
  out.blob(head.inside);
  auto signer = signer_of(keyring);
  if (!signer) return fail(signer.error());
  std::array<std::uint8_t, crypto_sign_BYTES> signature{};
  crypto_sign_detached(signature.data(), nullptr, bytes.data(), bytes.size(), (*signer)->secret.data());
  out.raw(signature);
  return bytes;
}

Result<Head> decode_head(ByteView bytes, const Keyring& keyring) {
  const auto damaged = [] { return fail(Code::corrupt, "a head is malformed"); };
  auto signer = signer_of(keyring);
  if (!signer) return fail(signer.error());
  if (bytes.size() <= crypto_sign_BYTES) return damaged();
  const ByteView text = bytes.first(bytes.size() - crypto_sign_BYTES);
  if (crypto_sign_verify_detached(bytes.data() + text.size(), text.data(), text.size(), (*signer)->open.data()) != 0 && !mutant("head-unsigned"))
    return fail(Code::corrupt, "a head is not signed by this drive's key");
  Decoder in(text);
  if (const std::uint8_t found = in.u8(); found > version)
    return fail(Code::newer_format, "a head has format " + std::to_string(found), "use the version of atoll that wrote it");
  Head head;
  head.volume = in.id<VolumeId>();
  head.epoch = static_cast<std::uint32_t>(in.varint());
  head.generation = in.varint();
  head.device = in.id<DeviceId>();
  head.made_at = get_time(in);
  head.lsn = in.id<Lsn>();
  const ByteView chain = in.raw(head.chain.size());
  std::copy(chain.begin(), chain.end(), head.chain.begin());
  head.checkpoint = in.id<Lsn>();
  head.checkpoint_bytes = in.varint();
  const auto count = [&in] {
    const std::uint64_t value = in.varint();
    if (value > list_max) in.reject();
    return in.ok() ? value : 0;
  };
  for (std::uint64_t left = count(); left > 0 && in.ok(); --left) head.checkpoint_parts.push_back(in.id<PartId>());
  for (std::uint64_t left = count(); left > 0 && in.ok(); --left) {
    Stretch stretch;
    stretch.first = in.id<Lsn>();
    stretch.last = in.id<Lsn>();
    stretch.bytes = in.varint();
    stretch.where.kind = static_cast<MetaKind>(in.u8());
    if (stretch.where.kind == MetaKind::head) {
      stretch.where.epoch = static_cast<std::uint32_t>(in.varint());
      stretch.where.generation = in.varint();
    } else if (stretch.where.kind == MetaKind::journal) {
      stretch.where.id = in.id<PartId>();
    } else {
      in.reject();
    }
    head.stretches.push_back(stretch);
  }
  for (std::uint64_t left = count(); left > 0 && in.ok(); --left) {
    auto node = decode_node(in.blob());
    if (!node) return damaged();
    head.nodes.push_back(std::move(*node));
  }
  const auto bytes_of = [&in] {
    const ByteView view = in.blob();
    return Bytes(view.begin(), view.end());
  };
  head.wrapped_keyring = bytes_of();
  head.supplement_count = static_cast<std::uint32_t>(in.varint());
  head.supplement = bytes_of();
  head.inside = bytes_of();
  if (!in.done() || head.volume != keyring.volume()) return damaged();
  // What a machine can come back from: a history without a gap, up to the head's own place.
  Lsn at = head.checkpoint;
  for (const Stretch& stretch : head.stretches) {
    if (stretch.first != at.next() || stretch.last < stretch.first) return damaged();
    at = stretch.last;
  }
  if (at != head.lsn) return damaged();
  return head;
}

}  // namespace atl
