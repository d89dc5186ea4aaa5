#include "cache/heads/stretch.h"

#include <zstd.h>

#include <algorithm>

#include "engine/base/codec.h"

namespace atl {
namespace {

/// No stretch unpacks to more: what a node sends must not exhaust memory.
constexpr std::size_t plain_bytes_max = 512u << 20;
constexpr int compression = 6;

}  // namespace

void StretchPacker::add(const JournalBatch& batch) {
  Encoder out(plain_);
  if (count_ == 0) out.raw(batch.previous);
  out.id(batch.first);
  out.varint(batch.count);
  out.blob(batch.body);
  out.raw(batch.chain);
  if (count_ == 0) first_ = batch.first;
  last_ = Lsn(batch.first.value + batch.count - 1);
  ++count_;
}

Result<Bytes> StretchPacker::pack() const {
  Bytes packed(ZSTD_compressBound(plain_.size()));
  const std::size_t size = ZSTD_compress(packed.data(), packed.size(), plain_.data(), plain_.size(), compression);
  if (ZSTD_isError(size)) return fail(Code::failed, std::string("compressing the journal: ") + ZSTD_getErrorName(size));
  packed.resize(size);
  return packed;
}

Result<> unpack_stretch(ByteView packed, const std::function<Result<>(const JournalBatch&)>& visit) {
  const auto damaged = [] { return fail(Code::corrupt, "a stretch of the journal is malformed"); };
  const unsigned long long size = ZSTD_getFrameContentSize(packed.data(), packed.size());
  if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN || size > plain_bytes_max) return damaged();
  Bytes plain(static_cast<std::size_t>(size));
  const std::size_t unpacked = ZSTD_decompress(plain.data(), plain.size(), packed.data(), packed.size());
  if (ZSTD_isError(unpacked) || unpacked != plain.size()) return damaged();
  Decoder in(plain);
  ChainHash before{};
  const ByteView start = in.raw(before.size());
  if (!in.ok()) return damaged();
  std::copy(start.begin(), start.end(), before.begin());
  while (in.remaining() > 0) {
    JournalBatch batch;
    batch.previous = before;
    batch.first = in.id<Lsn>();
    batch.count = static_cast<std::uint32_t>(in.varint());
    batch.body = in.blob();
    const ByteView chain = in.raw(batch.chain.size());
    if (!in.ok() || batch.count == 0) return damaged();
    std::copy(chain.begin(), chain.end(), batch.chain.begin());
    if (auto seen = visit(batch); !seen) return seen;
    before = batch.chain;
  }
  return {};
}

}  // namespace atl
