#include "cache/heads/meta_object.h"

#include <sodium.h>

#include <algorithm>
#include <cassert>
#include <charconv>

#include "cache/heads/object_size.h"
#include "engine/base/codec.h"
#include "engine/base/mutant.h"

namespace atl {
namespace {

constexpr std::string_view magic = "atollmta";
constexpr std::uint8_t format = 1;
static_assert(MetaSealer::plain_bytes_max == metadata_plain_bytes_max);

constexpr std::size_t header_bytes = 16;  // magic 8 | format u8 | kind u8 | zeros 6
constexpr std::size_t nonce_bytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr std::size_t tag_bytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;
constexpr std::size_t overhead_bytes = header_bytes + nonce_bytes + tag_bytes;
constexpr std::size_t length_bytes = 4;
constexpr std::size_t prefix_bytes = 5;

std::array<std::uint8_t, 32> keyed(const SecretKey& key, ByteView text) {
  std::array<std::uint8_t, 32> hash{};
  crypto_generichash(hash.data(), hash.size(), text.data(), text.size(), key.data(), SecretKey::size);
  return hash;
}

Bytes header_of(MetaKind kind) {
  Bytes header;
  Encoder out(header);
  out.raw(as_bytes(magic));
  out.u8(format);
  out.u8(static_cast<std::uint8_t>(kind));
  header.resize(header_bytes);
  return header;
}

template <typename Integer>
std::string fixed_hex(Integer value) {
  std::array<std::uint8_t, sizeof value> big_endian{};
  for (std::size_t i = 0; i < sizeof value; ++i) big_endian[sizeof value - 1 - i] = static_cast<std::uint8_t>(value >> (8 * i));
  return to_hex(big_endian);
}

}  // namespace

Result<MetaSealer> MetaSealer::make(const Keyring& keyring) {
  // Neither rotates: objects outlive key epochs, and a fresh machine knows the first epoch from its kit.
  auto journal = keyring.derive(KeyEpoch{1}, KeyPurpose::journal);
  if (!journal) return fail(journal.error());
  auto names = keyring.derive(KeyEpoch{1}, KeyPurpose::object_name);
  if (!names) return fail(names.error());
  auto raw = keyed(*journal, as_bytes("atoll metadata on nodes"));
  SecretKey seal = SecretKey::from(raw);
  sodium_memzero(raw.data(), raw.size());
  return MetaSealer(keyring.volume(), std::move(seal), std::move(*names));
}

Bytes MetaSealer::associated(const MetaName& name) const {
  Bytes text;
  if (mutant("meta-without-name")) return text;
  Encoder out(text);
  out.raw(as_bytes("atoll-metadata"));
  out.raw(header_of(name.kind));
  out.raw(volume_.view());
  out.u32(name.epoch);
  out.u64(name.generation);
  out.raw(name.id.view());
  return text;
}

std::size_t MetaSealer::object_bytes(std::size_t plain_bytes) { return padded_object_bytes(overhead_bytes + length_bytes + plain_bytes); }

Bytes MetaSealer::seal(const MetaName& name, ByteView plain, Random& random) const {
  assert(plain.size() <= plain_bytes_max);
  Bytes padded;
  padded.reserve(object_bytes(plain.size()));
  Encoder(padded).u32(static_cast<std::uint32_t>(plain.size()));
  padded.insert(padded.end(), plain.begin(), plain.end());
  padded.resize(object_bytes(plain.size()) - overhead_bytes);
  Bytes object = header_of(name.kind);
  object.resize(overhead_bytes + padded.size());
  random.fill(MutableBytes(object).subspan(header_bytes, nonce_bytes));
  const Bytes extra = associated(name);
  crypto_aead_xchacha20poly1305_ietf_encrypt(object.data() + header_bytes + nonce_bytes, nullptr, padded.data(), padded.size(), extra.data(),
                                             extra.size(), nullptr, object.data() + header_bytes, seal_.data());
  return object;
}

Result<Bytes> MetaSealer::open(const MetaName& name, ByteView object) const {
  const auto damaged = [] { return fail(Code::corrupt, "an object of metadata is not what was stored"); };
  if (object.size() < overhead_bytes + length_bytes || as_text(object.first(magic.size())) != magic) return damaged();
  if (object[magic.size()] > format) return fail(Code::newer_format, "a node holds metadata of format " + std::to_string(object[magic.size()]), "use the version of atoll that wrote it");
  const Bytes header = header_of(name.kind);
  if (!std::equal(header.begin(), header.end(), object.begin())) return damaged();
  Bytes padded(object.size() - overhead_bytes);
  const Bytes extra = associated(name);
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(padded.data(), nullptr, nullptr, object.data() + header_bytes + nonce_bytes,
                                                 object.size() - header_bytes - nonce_bytes, extra.data(), extra.size(),
                                                 object.data() + header_bytes, seal_.data()) != 0)
    return damaged();
  Decoder in(padded);
  const std::uint32_t length = in.u32();
  if (length > in.remaining()) return damaged();
  const ByteView plain = in.raw(length);
  return Bytes(plain.begin(), plain.end());
}

std::string MetaSealer::prefix(std::string_view purpose, const NodeId& node) const {
  Bytes text;
  Encoder out(text);
  out.raw(as_bytes(purpose));
  out.raw(node.view());
  return to_hex(ByteView(keyed(names_, text)).first(prefix_bytes));
}

std::string MetaSealer::head_prefix(const NodeId& node) const { return prefix("head-prefix", node); }
std::string MetaSealer::claim_prefix(const NodeId& node) const { return prefix("claim-prefix", node); }
std::string MetaSealer::part_prefix(const NodeId& node) const { return prefix("part-prefix", node); }

std::string MetaSealer::object_name(const MetaName& name, const NodeId& node) const {
  if (name.kind == MetaKind::head) return head_prefix(node) + fixed_hex(name.epoch) + fixed_hex(name.generation);
  if (name.kind == MetaKind::claim) return claim_prefix(node) + fixed_hex(name.epoch);
  Bytes text;
  Encoder out(text);
  out.raw(as_bytes("part-name"));
  out.u8(static_cast<std::uint8_t>(name.kind));
  out.raw(name.id.view());
  out.raw(node.view());
  return part_prefix(node) + to_hex(ByteView(keyed(names_, text)).first(20));
}

std::optional<MetaName> MetaSealer::parse_head(std::string_view object_name, const NodeId& node) const {
  const std::string start = head_prefix(node);
  if (!object_name.starts_with(start) || object_name.size() != start.size() + 8 + 16) return std::nullopt;
  const std::string_view digits = object_name.substr(start.size());
  std::uint32_t epoch = 0;
  std::uint64_t generation = 0;
  const auto a = std::from_chars(digits.data(), digits.data() + 8, epoch, 16);
  const auto b = std::from_chars(digits.data() + 8, digits.data() + 24, generation, 16);
  if (a.ec != std::errc() || a.ptr != digits.data() + 8 || b.ec != std::errc() || b.ptr != digits.data() + 24) return std::nullopt;
  return MetaName::head(epoch, generation);
}

std::optional<MetaName> MetaSealer::parse_claim(std::string_view object_name, const NodeId& node) const {
  const std::string start = claim_prefix(node);
  if (!object_name.starts_with(start) || object_name.size() != start.size() + 8) return std::nullopt;
  std::uint32_t epoch = 0;
  const auto read = std::from_chars(object_name.data() + start.size(), object_name.data() + object_name.size(), epoch, 16);
  if (read.ec != std::errc() || read.ptr != object_name.data() + object_name.size()) return std::nullopt;
  return MetaName::claim(epoch);
}

}  // namespace atl
