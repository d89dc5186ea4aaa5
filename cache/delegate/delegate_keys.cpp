#include "cache/delegate/delegate_keys.h"

#include <sodium.h>

#include <algorithm>
#include <charconv>

#include "cache/heads/object_size.h"
#include "engine/base/codec.h"

namespace atl {
namespace {

constexpr std::string_view magic = "atolldlg";
constexpr std::uint8_t format = 1;
constexpr std::size_t header_bytes = 16;  // magic 8 | format u8 | kind u8 | zeros 6
constexpr std::size_t nonce_bytes = crypto_secretbox_NONCEBYTES;
constexpr std::size_t tag_bytes = crypto_secretbox_MACBYTES;
constexpr std::size_t overhead_bytes = header_bytes + nonce_bytes + tag_bytes;
constexpr std::size_t bound_bytes = header_bytes + DelegateId::size + 8;  // of what is inside: what the object is
constexpr std::size_t length_bytes = 8;
constexpr std::size_t prefix_digits = 10;
constexpr std::size_t id_digits = 2 * DelegateId::size;
constexpr std::size_t number_digits = 16;

std::array<std::uint8_t, 32> keyed(const SecretKey& key, ByteView text) {
  std::array<std::uint8_t, 32> hash{};
  crypto_generichash(hash.data(), hash.size(), text.data(), text.size(), key.data(), SecretKey::size);
  return hash;
}

std::string number_hex(std::uint64_t number) {
  std::array<std::uint8_t, 8> big_endian{};
  for (std::size_t i = 0; i < 8; ++i) big_endian[7 - i] = static_cast<std::uint8_t>(number >> (8 * i));
  return to_hex(big_endian);
}

Bytes header_of(DelegateObject kind) {
  Bytes header;
  Encoder out(header);
  out.raw(as_bytes(magic));
  out.u8(format);
  out.u8(static_cast<std::uint8_t>(kind));
  header.resize(header_bytes);
  return header;
}

/// What an object is, inside the box, so that none can stand for another.
Bytes bound(const DelegateId& id, DelegateObject kind, std::uint64_t number) {
  Bytes text = header_of(kind);
  Encoder out(text);
  out.id(id);
  out.u64(number);
  return text;
}

}  // namespace

SecretKey DelegateKeys::derived(std::string_view purpose) const {
  auto raw = keyed(key_, as_bytes(purpose));
  SecretKey key = SecretKey::from(raw);
  sodium_memzero(raw.data(), raw.size());
  return key;
}

KeyPair DelegateKeys::device() const {
  const SecretKey secret = derived("atoll delegate device");
  KeySeed seed;
  std::copy_n(secret.data(), KeySeed::size, seed.bytes.begin());
  KeyPair pair = KeyPair::from_seed(seed);
  wipe(seed);
  return pair;
}

DelegateRights DelegateKeys::rights(const NodeId& node) const {
  DelegateRights rights;
  rights.put = {shard_object_prefix(names_, node), prefix(DelegateObject::report, node)};
  rights.get = {prefix(DelegateObject::view, node)};
  return rights;
}

std::string delegate_class_prefix(const SecretKey& names, DelegateObject kind, const NodeId& node) {
  Bytes text;
  Encoder out(text);
  out.raw(as_bytes(kind == DelegateObject::report ? "delegate-report-prefix" : "delegate-view-prefix"));
  out.raw(node.view());
  return to_hex(ByteView(keyed(names, text)).first(prefix_digits / 2));
}

std::string DelegateKeys::prefix(DelegateObject kind, const NodeId& node) const { return delegate_class_prefix(names_, kind, node) + id_.hex(); }

std::string DelegateKeys::object_name(DelegateObject kind, std::uint64_t number, const NodeId& node) const {
  return prefix(kind, node) + number_hex(kind == DelegateObject::revoked ? revoked_number : number);
}

std::optional<std::pair<DelegateId, std::uint64_t>> parse_delegate_name(std::string_view object_name) {
  if (object_name.size() != prefix_digits + id_digits + number_digits) return std::nullopt;
  const auto id = DelegateId::from_hex(object_name.substr(prefix_digits, id_digits));
  std::uint64_t number = 0;
  const auto read = std::from_chars(object_name.data() + prefix_digits + id_digits, object_name.data() + object_name.size(), number, 16);
  if (!id || read.ec != std::errc() || read.ptr != object_name.data() + object_name.size()) return std::nullopt;
  return std::pair(*id, number);
}

std::optional<std::uint64_t> DelegateKeys::number_of(std::string_view object_name) {
  const auto parsed = parse_delegate_name(object_name);
  if (!parsed) return std::nullopt;
  return parsed->second;
}

Bytes DelegateKeys::seal(DelegateObject kind, std::uint64_t number, ByteView plain, Random& random) const {
  const std::size_t object_bytes = padded_object_bytes(overhead_bytes + bound_bytes + length_bytes + plain.size());
  Bytes padded = bound(id_, kind, number);
  padded.reserve(object_bytes - overhead_bytes);
  Encoder(padded).u64(plain.size());
  padded.insert(padded.end(), plain.begin(), plain.end());
  padded.resize(object_bytes - overhead_bytes);
  Bytes object = header_of(kind);
  object.resize(object_bytes);
  random.fill(MutableBytes(object).subspan(header_bytes, nonce_bytes));
  const SecretKey box = derived("atoll delegate box");
  crypto_secretbox_easy(object.data() + header_bytes + nonce_bytes, padded.data(), padded.size(), object.data() + header_bytes, box.data());
  sodium_memzero(padded.data(), padded.size());
  return object;
}

Result<Bytes> DelegateKeys::open(DelegateObject kind, std::uint64_t number, ByteView object) const {
  const auto damaged = [] { return fail(Code::corrupt, "an object of a delegate's is not what was stored"); };
  if (object.size() < overhead_bytes + bound_bytes + length_bytes || as_text(object.first(magic.size())) != magic) return damaged();
  if (object[magic.size()] > format)
    return fail(Code::newer_format, "a node holds a delegate's object of format " + std::to_string(object[magic.size()]), "use the version of atoll that wrote it");
  Bytes padded(object.size() - overhead_bytes);
  const SecretKey box = derived("atoll delegate box");
  const ByteView sealed = object.subspan(header_bytes + nonce_bytes);
  if (crypto_secretbox_open_easy(padded.data(), sealed.data(), sealed.size(), object.data() + header_bytes, box.data()) != 0) return damaged();
  const Bytes expected = bound(id_, kind, number);
  if (!std::equal(expected.begin(), expected.end(), padded.begin())) return damaged();
  Decoder in(ByteView(padded).subspan(bound_bytes));
  const std::uint64_t length = in.u64();
  if (length > in.remaining()) return damaged();
  const ByteView plain = in.raw(static_cast<std::size_t>(length));
  return Bytes(plain.begin(), plain.end());
}

}  // namespace atl
