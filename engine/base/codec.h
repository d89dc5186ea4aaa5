// Encoding of integers and byte strings into the formats that FORMAT.md describes.
//
// Encoder appends; it cannot fail. Decoder reads untrusted bytes: it never reads past the end, and after the first
// fault every further read answers zero and ok() stays false, so that a caller checks once at the end.
// Fixed integers are little-endian; varints are LEB128 (7 bits a byte, low first, at most 10 bytes).
// Not thread-safe; views given to a Decoder outlive it.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "engine/base/bytes.h"
#include "engine/base/ids.h"

namespace atl {

class Encoder {
 public:
  explicit Encoder(Bytes& out) : out_(out) {}

  void u8(std::uint8_t value) { out_.push_back(value); }
  void u16(std::uint16_t value) { fixed(value); }
  void u32(std::uint32_t value) { fixed(value); }
  void u64(std::uint64_t value) { fixed(value); }
  void varint(std::uint64_t value) {
    while (value >= 0x80) {
      out_.push_back(static_cast<std::uint8_t>(value | 0x80));
      value >>= 7;
    }
    out_.push_back(static_cast<std::uint8_t>(value));
  }
  /// Zig-zag: small magnitudes of either sign stay short.
  void signed_varint(std::int64_t value) {
    varint((static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63));
  }
  void raw(ByteView bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  /// A varint length, then the bytes.
  void blob(ByteView bytes) {
    varint(bytes.size());
    raw(bytes);
  }
  void text(std::string_view value) { blob(as_bytes(value)); }
  template <typename Tag, typename Integer>
  void id(StrongInteger<Tag, Integer> value) {
    varint(value.value);
  }
  template <typename Tag, std::size_t N>
  void id(const StrongBytes<Tag, N>& value) {
    raw(value.bytes);
  }

 private:
  template <typename Integer>
  void fixed(Integer value) {
    for (std::size_t i = 0; i < sizeof value; ++i) out_.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
  }

  Bytes& out_;
};

class Decoder {
 public:
  explicit Decoder(ByteView in) : in_(in) {}

  std::uint8_t u8() { return fixed<std::uint8_t>(); }
  std::uint16_t u16() { return fixed<std::uint16_t>(); }
  std::uint32_t u32() { return fixed<std::uint32_t>(); }
  std::uint64_t u64() { return fixed<std::uint64_t>(); }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; ok_ && shift < 64; shift += 7) {
      if (at_ >= in_.size()) break;
      const std::uint8_t byte = in_[at_++];
      if (shift == 63 && byte > 1) break;
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    ok_ = false;
    return 0;
  }
  std::int64_t signed_varint() {
    const std::uint64_t value = varint();
    return static_cast<std::int64_t>(value >> 1) ^ -static_cast<std::int64_t>(value & 1);
  }
  /// A view into the input; empty after a fault.
  ByteView raw(std::size_t count) {
    if (!ok_ || count > in_.size() - at_) {
      ok_ = false;
      return {};
    }
    const ByteView view = in_.subspan(at_, count);
    at_ += count;
    return view;
  }
  ByteView blob() {
    const std::uint64_t count = varint();
    if (count > in_.size() - at_) {
      ok_ = false;
      return {};
    }
    return raw(static_cast<std::size_t>(count));
  }
  std::string_view text() { return as_text(blob()); }
  template <typename Id>
  Id id() {
    Id result;
    if constexpr (requires { result.value; }) {
      const std::uint64_t number = varint();
      result.value = static_cast<decltype(result.value)>(number);
      if (result.value != number) ok_ = false;
    } else {
      const ByteView view = raw(Id::size);
      if (ok_) std::memcpy(result.bytes.data(), view.data(), Id::size);
    }
    return result;
  }

  /// True while nothing was read past the end or malformed.
  bool ok() const { return ok_; }
  /// True if all was read, and well.
  bool done() const { return ok_ && at_ == in_.size(); }
  std::size_t position() const { return at_; }
  std::size_t remaining() const { return in_.size() - at_; }
  /// Marks the input as malformed, for a check that the reader makes itself.
  void reject() { ok_ = false; }

 private:
  template <typename Integer>
  Integer fixed() {
    if (!ok_ || sizeof(Integer) > in_.size() - at_) {
      ok_ = false;
      return 0;
    }
    Integer value = 0;
    for (std::size_t i = 0; i < sizeof value; ++i)
      value = static_cast<Integer>(value | static_cast<Integer>(in_[at_ + i]) << (8 * i));
    at_ += sizeof value;
    return value;
  }

  ByteView in_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace atl
