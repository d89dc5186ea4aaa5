#include "cache/delegate/delegate_view.h"

#include <algorithm>

#include "cache/erasure/shard_codec.h"
#include "engine/base/codec.h"

namespace atl {
namespace {

constexpr std::uint8_t version = 1;

tl::unexpected<Error> damaged(const char* what) { return fail(Code::corrupt, std::string("a delegate's ") + what + " is malformed"); }
tl::unexpected<Error> newer(const char* what, std::uint8_t number) {
  return fail(Code::newer_format, std::string("a delegate's ") + what + " is of format " + std::to_string(number), "use the version of atoll that wrote it");
}

void put_time(Encoder& out, const Timestamp& time) {
  out.signed_varint(time.seconds);
  out.varint(time.nanoseconds);
}

Timestamp get_time(Decoder& in) {
  Timestamp time;
  time.seconds = in.signed_varint();
  time.nanoseconds = static_cast<std::uint32_t>(in.varint());
  return time;
}

}  // namespace

Bytes encode_delegate_view(const DelegateView& view) {
  Bytes bytes;
  Encoder out(bytes);
  out.u8(version);
  out.id(view.volume);
  put_time(out, view.made_at);
  out.varint(view.repair_grace_seconds);
  std::map<NodeId, std::uint64_t> places;
  out.varint(view.nodes.size());
  for (const DelegatedNode& node : view.nodes) {
    places.emplace(node.spec.id, places.size());
    Bytes row;
    encode_node(node.spec, row);
    out.blob(row);
    out.u8(node.spec.draining ? 1 : 0);
    out.text(node.certificate);
  }
  out.varint(view.segments.size());
  for (const auto& [id, segment] : view.segments) {
    out.id(id);
    out.id(segment.attempt);
    out.u8(segment.k);
    out.u8(segment.n);
    out.u8(segment.protect_min);
    out.varint(segment.shipped_bytes);
    out.raw(segment.mac_key);
    out.varint(segment.placed.size());
    for (const ShardHome& home : segment.placed) {
      out.u8(home.shard.value);
      out.varint(places.at(home.node));
    }
  }
  return bytes;
}

Result<DelegateView> decode_delegate_view(ByteView bytes) {
  Decoder in(bytes);
  if (const std::uint8_t number = in.u8(); number > version) return newer("list of shards", number);
  DelegateView view;
  view.volume = in.id<VolumeId>();
  view.made_at = get_time(in);
  view.repair_grace_seconds = in.varint();
  for (std::uint64_t left = in.varint(); left > 0 && in.ok(); --left) {
    auto spec = decode_node(in.blob());
    if (!spec) return damaged("list of shards");
    DelegatedNode node;
    node.spec = std::move(*spec);
    node.spec.draining = in.u8() != 0;
    node.certificate = in.text();
    view.nodes.push_back(std::move(node));
  }
  for (std::uint64_t left = in.varint(); left > 0 && in.ok(); --left) {
    const auto id = in.id<SegmentId>();
    DelegatedSegment segment;
    segment.attempt = in.id<AttemptId>();
    segment.k = in.u8();
    segment.n = in.u8();
    segment.protect_min = in.u8();
    segment.shipped_bytes = in.varint();
    const ByteView key = in.raw(segment.mac_key.size());
    if (in.ok()) std::copy(key.begin(), key.end(), segment.mac_key.begin());
    for (std::uint64_t homes = in.varint(); homes > 0 && in.ok(); --homes) {
      const ShardIndex shard(in.u8());
      const std::uint64_t place = in.varint();
      if (place >= view.nodes.size() || shard.value >= segment.n) return damaged("list of shards");
      segment.placed.push_back({shard, view.nodes[place].spec.id});
    }
    const bool sound = segment.k >= 1 && segment.k <= segment.protect_min && segment.protect_min <= segment.n &&
                       segment.shipped_bytes <= 2 * segment_bytes_max && std::is_sorted(segment.placed.begin(), segment.placed.end());
    if (!sound) return damaged("list of shards");
    view.segments.emplace(id, std::move(segment));
  }
  if (!in.done()) return damaged("list of shards");
  return view;
}

Bytes encode_delegate_report(const DelegateReport& report) {
  Bytes bytes;
  Encoder out(bytes);
  out.u8(version);
  out.id(report.volume);
  put_time(out, report.made_at);
  out.varint(report.moves.size());
  for (const DelegatedMove& move : report.moves) {
    out.id(move.segment);
    out.id(move.attempt);
    out.u8(move.shard.value);
    out.id(move.from);
    out.id(move.to);
    out.u8(move.stored ? 1 : 0);
  }
  return bytes;
}

Result<DelegateReport> decode_delegate_report(ByteView bytes) {
  Decoder in(bytes);
  if (const std::uint8_t number = in.u8(); number > version) return newer("report", number);
  DelegateReport report;
  report.volume = in.id<VolumeId>();
  report.made_at = get_time(in);
  for (std::uint64_t left = in.varint(); left > 0 && in.ok(); --left) {
    DelegatedMove move;
    move.segment = in.id<SegmentId>();
    move.attempt = in.id<AttemptId>();
    move.shard = ShardIndex(in.u8());
    move.from = in.id<NodeId>();
    move.to = in.id<NodeId>();
    const std::uint8_t stored = in.u8();
    if (stored > 1) in.reject();
    move.stored = stored == 1;
    report.moves.push_back(move);
  }
  if (!in.done()) return damaged("report");
  return report;
}

}  // namespace atl
