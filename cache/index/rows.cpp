#include "cache/index/rows.h"

#include "cache/sealing/extent_sealer.h"
#include "cache/staging/segment_store.h"
#include "engine/base/time_codec.h"

namespace atl {
namespace {

constexpr std::uint8_t strays_flag = 4;

std::uint32_t get_u32(Decoder& in) {
  const std::uint64_t value = in.varint();
  if (value > 0xffffffffu) in.reject();
  return static_cast<std::uint32_t>(value);
}

void put_homes(Encoder& out, const std::vector<ShardHome>& homes) {
  out.varint(homes.size());
  for (const ShardHome& home : homes) {
    out.u8(home.shard.value);
    out.id(home.node);
  }
}

std::vector<ShardHome> get_homes(Decoder& in) {
  std::vector<ShardHome> homes;
  const std::uint64_t count = in.varint();
  if (count > 255) in.reject();
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
    ShardHome home;
    home.shard.value = in.u8();
    home.node = in.id<NodeId>();
    homes.push_back(home);
  }
  return homes;
}

template <typename Row>
Result<Row> checked(const Decoder& in, Row row, const char* what) {
  if (!in.done()) return fail(Code::corrupt, std::string("a row of the index is damaged: ") + what);
  return row;
}

}  // namespace

void InodeRow::encode(Bytes& bytes) const {
  Encoder out(bytes);
  out.varint(mode);
  out.varint(uid);
  out.varint(gid);
  out.varint(links);
  out.varint(device);
  out.varint(size);
  out.varint(mapped_bytes);
  out.varint(entries);
  out.id(parent);
  out.u8(has_xattrs ? 1 : 0);
  out.text(target);
  put_time(out, atime);
  put_time(out, mtime);
  put_time(out, ctime);
}

Result<InodeRow> InodeRow::decode(ByteView bytes) {
  Decoder in(bytes);
  InodeRow row;
  row.mode = get_u32(in);
  row.uid = get_u32(in);
  row.gid = get_u32(in);
  row.links = get_u32(in);
  row.device = in.varint();
  row.size = in.varint();
  row.mapped_bytes = in.varint();
  row.entries = in.varint();
  row.parent = in.id<InodeNumber>();
  row.has_xattrs = in.u8() != 0;
  row.target = in.text();
  row.atime = get_time(in);
  row.mtime = get_time(in);
  row.ctime = get_time(in);
  return checked(in, std::move(row), "inode");
}

void XattrsRow::encode(Bytes& bytes) const {
  Encoder out(bytes);
  out.varint(values.size());
  for (const auto& [name, value] : values) {
    out.text(name);
    out.blob(value);
  }
}

Result<XattrsRow> XattrsRow::decode(ByteView bytes) {
  Decoder in(bytes);
  XattrsRow row;
  const std::uint64_t count = in.varint();
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
    std::string name(in.text());
    const ByteView value = in.blob();
    row.values.emplace(std::move(name), Bytes(value.begin(), value.end()));
  }
  return checked(in, std::move(row), "extended attributes");
}

// Offsets and extent ids mostly follow their predecessor: differences keep a window of 128 pieces near a kilobyte.
void WindowRow::encode(std::uint64_t window, Bytes& bytes) const {
  Encoder out(bytes);
  out.varint(pieces.size());
  std::uint64_t expected = window * window_bytes;
  std::uint64_t extent = 0;
  for (const MapPiece& piece : pieces) {
    out.varint(piece.offset - expected);
    out.varint(piece.length);
    out.signed_varint(static_cast<std::int64_t>(piece.extent.value - extent));
    out.varint(piece.extent_offset);
    expected = piece.end();
    extent = piece.extent.value;
  }
}

Result<WindowRow> WindowRow::decode(std::uint64_t window, ByteView bytes) {
  Decoder in(bytes);
  WindowRow row;
  const std::uint64_t count = in.varint();
  if (count > in.remaining()) in.reject();
  std::uint64_t expected = window * window_bytes;
  std::uint64_t extent = 0;
  if (in.ok()) row.pieces.reserve(static_cast<std::size_t>(count));
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
    MapPiece piece;
    piece.offset = expected + in.varint();
    piece.length = in.varint();
    piece.extent.value = extent + static_cast<std::uint64_t>(in.signed_varint());
    piece.extent_offset = get_u32(in);
    if (piece.length == 0 || piece.length > extent_bytes_max) in.reject();
    expected = piece.end();
    extent = piece.extent.value;
    row.pieces.push_back(piece);
  }
  return checked(in, std::move(row), "map");
}

void ExtentRow::encode(Bytes& bytes) const {
  Encoder out(bytes);
  out.id(segment);
  out.varint(offset);
  out.varint(length);
  out.id(epoch);
  out.varint(references);
}

Result<ExtentRow> ExtentRow::decode(ByteView bytes) {
  Decoder in(bytes);
  ExtentRow row;
  row.segment = in.id<SegmentId>();
  row.offset = in.varint();
  row.length = get_u32(in);
  row.epoch = in.id<KeyEpoch>();
  row.references = get_u32(in);
  if (row.length == 0 || row.length > extent_bytes_max) in.reject();
  return checked(in, row, "extent");
}

std::uint64_t SegmentRow::shipped_bytes() const { return bytes - segment_header_bytes; }

void SegmentRow::encode(Bytes& out_bytes) const {
  Encoder out(out_bytes);
  out.varint(bytes);
  out.varint(live_bytes);
  out.varint(extents);
  out.varint(live_extents);
  const bool with_strays = has_attempt && !strays.empty();
  out.u8(static_cast<std::uint8_t>((finished ? 1 : 0) | (has_attempt ? 2 : 0) | (with_strays ? strays_flag : 0)));
  put_time(out, finished_at);
  if (has_attempt) {
    out.id(attempt);
    out.u8(k);
    out.u8(n);
    put_homes(out, placed);
    if (!strays.empty()) {
      out.varint(strays.size());
      for (const Stray& stray : strays) {
        out.u8(stray.home.shard.value);
        out.id(stray.home.node);
        out.varint(stray.since_seconds);
      }
    }
  }
}

Result<SegmentRow> SegmentRow::decode(ByteView in_bytes) {
  Decoder in(in_bytes);
  SegmentRow row;
  row.bytes = in.varint();
  row.live_bytes = in.varint();
  row.extents = get_u32(in);
  row.live_extents = get_u32(in);
  const std::uint8_t flags = in.u8();
  row.finished = (flags & 1) != 0;
  row.has_attempt = (flags & 2) != 0;
  row.finished_at = get_time(in);
  if (row.has_attempt) {
    row.attempt = in.id<AttemptId>();
    row.k = in.u8();
    row.n = in.u8();
    row.placed = get_homes(in);
    if ((flags & strays_flag) != 0) {
      const std::uint64_t count = in.varint();
      for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
        Stray stray;
        stray.home.shard = ShardIndex(in.u8());
        stray.home.node = in.id<NodeId>();
        stray.since_seconds = in.varint();
        row.strays.push_back(stray);
      }
      if (row.strays.empty()) in.reject();
    }
    if (row.k == 0 || row.k > row.n || row.placed.size() > row.n) in.reject();
  }
  return checked(in, std::move(row), "segment");
}

void GarbageRow::encode(Bytes& out_bytes) const {
  Encoder out(out_bytes);
  out.id(segment);
  out.u8(k);
  out.u8(n);
  out.varint(bytes);
  out.varint(since_seconds);
  put_homes(out, placed);
}

Result<GarbageRow> GarbageRow::decode(ByteView in_bytes) {
  Decoder in(in_bytes);
  GarbageRow row;
  row.segment = in.id<SegmentId>();
  row.k = in.u8();
  row.n = in.u8();
  row.bytes = in.varint();
  row.since_seconds = in.varint();
  row.placed = get_homes(in);
  return checked(in, std::move(row), "garbage");
}

void VolumeRow::encode(Bytes& bytes) const {
  Encoder out(bytes);
  out.id(volume);
  out.u8(k);
  out.u8(n);
  out.u8(protect_min);
  out.varint(next_inode);
  out.varint(next_cookie);
  out.varint(next_extent);
  out.varint(next_segment);
  out.varint(files);
  out.varint(mapped_bytes);
  out.varint(ran_seconds);
  out.varint(leaving.size());
  for (const NodeId& node : leaving) out.id(node);
  if (earlier.empty()) return;  // as drives were written that never had another redundancy
  out.varint(earlier.size());
  for (const auto& [redundancy, r] : earlier) {
    out.u8(redundancy.first);
    out.u8(redundancy.second);
    out.u8(r);
  }
}

std::uint8_t VolumeRow::protects(std::uint8_t k_of, std::uint8_t n_of) const {
  if (k_of == k && n_of == n) return protect_min;
  const auto known = earlier.find({k_of, n_of});
  return known == earlier.end() ? n_of : known->second;
}

Result<VolumeRow> VolumeRow::decode(ByteView bytes) {
  Decoder in(bytes);
  VolumeRow row;
  row.volume = in.id<VolumeId>();
  row.k = in.u8();
  row.n = in.u8();
  row.protect_min = in.u8();
  row.next_inode = in.varint();
  row.next_cookie = in.varint();
  row.next_extent = in.varint();
  row.next_segment = in.varint();
  row.files = in.varint();
  row.mapped_bytes = in.varint();
  row.ran_seconds = in.varint();
  const std::uint64_t count = in.varint();
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) row.leaving.insert(in.id<NodeId>());
  const std::uint64_t redundancies = in.ok() && in.remaining() > 0 ? in.varint() : 0;
  for (std::uint64_t i = 0; i < redundancies && in.ok(); ++i) {
    const std::uint8_t earlier_k = in.u8();
    const std::uint8_t earlier_n = in.u8();
    row.earlier[{earlier_k, earlier_n}] = in.u8();
  }
  return checked(in, row, "volume");
}

void encode_node(const NodeSpec& node, Bytes& bytes) {
  Encoder out(bytes);
  out.id(node.id);
  out.text(node.url);
  out.varint(node.labels.size());
  for (const auto& [key, value] : node.labels) {
    out.text(key);
    out.text(value);
  }
}

Result<NodeSpec> decode_node(ByteView bytes) {
  Decoder in(bytes);
  NodeSpec node;
  node.id = in.id<NodeId>();
  node.url = in.text();
  const std::uint64_t count = in.varint();
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
    std::string key(in.text());
    node.labels[key] = in.text();
  }
  return checked(in, std::move(node), "node");
}

}  // namespace atl
