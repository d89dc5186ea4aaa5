// Hides the headers of frames, so that nodes see neither where extents begin nor how long they are.
//
// A frame header is 16 bytes and, by its extent id, never twice the same: one AES-256 block, encrypted under a key of
// its own, is a permutation that shows nothing and needs no nonce. It is no authentication; that is the extent's AEAD.
// Thread-safe.
#pragma once

#include <memory>
#include <span>

#include "cache/keys/keyring.h"
#include "cache/staging/segment_store.h"

namespace atl {

class FrameCipher {
 public:
  /// `key` is the frame_header key of epoch 1: headers outlive key epochs.
  explicit FrameCipher(const SecretKey& key);
  ~FrameCipher();

  void seal(const FrameHeader& header, std::span<std::uint8_t, frame_header_bytes> out) const;
  /// Code::corrupt if no frame header stands in the 16 bytes.
  Result<FrameHeader> open(ByteView bytes) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace atl
