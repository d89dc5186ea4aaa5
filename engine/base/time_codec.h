// Times in records of all kinds: seconds as a signed varint, nanoseconds as a varint. FORMAT.md.
#pragma once

#include "engine/base/clock.h"
#include "engine/base/codec.h"

namespace atl {

inline void put_time(Encoder& out, const Timestamp& time) {
  out.signed_varint(time.seconds);
  out.varint(time.nanoseconds);
}

inline Timestamp get_time(Decoder& in) {
  Timestamp time;
  time.seconds = in.signed_varint();
  time.nanoseconds = static_cast<std::uint32_t>(in.varint());
  return time;
}

}  // namespace atl
