#include "cache/journal/record.h"

#include <array>

namespace atl {
namespace {

// One `fields` function per record lists its fields once, for both directions: `Io` is a Writer or a Reader.

struct Writer {
  Encoder out;

  void operator()(std::uint8_t value) { out.u8(value); }
  void operator()(std::uint32_t value) { out.varint(value); }
  void operator()(std::uint64_t value) { out.varint(value); }
  void operator()(bool value) { out.u8(value ? 1 : 0); }
  void operator()(const std::string& value) { out.text(value); }
  void operator()(const Bytes& value) { out.blob(value); }
  void operator()(const Timestamp& time) {
    out.signed_varint(time.seconds);
    out.varint(time.nanoseconds);
  }
  template <typename Tag, typename T>
  void operator()(StrongInteger<Tag, T> id) {
    out.id(id);
  }
  template <typename Tag, std::size_t N>
  void operator()(const StrongBytes<Tag, N>& id) {
    out.id(id);
  }
  template <typename T, typename Each>
  void list(const std::vector<T>& items, Each each) {
    out.varint(items.size());
    for (const T& item : items) each(item);
  }
  void labels(const Labels& labels) {
    out.varint(labels.size());
    for (const auto& [key, value] : labels) {
      out.text(key);
      out.text(value);
    }
  }
};

struct Reader {
  Decoder in;

  void operator()(std::uint8_t& value) { value = in.u8(); }
  void operator()(std::uint32_t& value) {
    const std::uint64_t wide = in.varint();
    value = static_cast<std::uint32_t>(wide);
    if (value != wide) in.reject();
  }
  void operator()(std::uint64_t& value) { value = in.varint(); }
  void operator()(bool& value) {
    const std::uint8_t byte = in.u8();
    if (byte > 1) in.reject();
    value = byte == 1;
  }
  void operator()(std::string& value) { value = in.text(); }
  void operator()(Bytes& value) {
    const ByteView view = in.blob();
    value.assign(view.begin(), view.end());
  }
  void operator()(Timestamp& time) {
    time.seconds = in.signed_varint();
    (*this)(time.nanoseconds);
    if (time.nanoseconds > 999'999'999) in.reject();
  }
  template <typename Tag, typename T>
  void operator()(StrongInteger<Tag, T>& id) {
    id = in.id<StrongInteger<Tag, T>>();
  }
  template <typename Tag, std::size_t N>
  void operator()(StrongBytes<Tag, N>& id) {
    id = in.id<StrongBytes<Tag, N>>();
  }
  template <typename T, typename Each>
  void list(std::vector<T>& items, Each each) {
    const std::uint64_t count = in.varint();
    if (count > in.remaining()) return in.reject();  // every item takes a byte at least
    items.resize(static_cast<std::size_t>(count));
    for (T& item : items) each(item);
  }
  void labels(Labels& labels) {
    const std::uint64_t count = in.varint();
    for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
      std::string key(in.text());
      labels[key] = in.text();
    }
  }
};

#define ATOLL_FIELDS(Type, ...)            \
  template <typename Io, typename R>       \
  void fields(Type*, Io& io, R& r) {       \
    auto each = [&io](auto&... f) { (io(f), ...); }; \
    each(__VA_ARGS__);                     \
  }

ATOLL_FIELDS(const VolumeMade, r.volume, r.uid, r.gid, r.time)
ATOLL_FIELDS(const RedundancySet, r.k, r.n, r.protect_min)
ATOLL_FIELDS(const Linked, r.inode, r.parent, r.name, r.cookie, r.time)
ATOLL_FIELDS(const Unlinked, r.parent, r.name, r.inode, r.time)
ATOLL_FIELDS(const Renamed, r.from, r.from_name, r.to, r.to_name, r.inode, r.replaced, r.cookie, r.exchange, r.time)
ATOLL_FIELDS(const Written, r.inode, r.offset, r.length, r.extent, r.segment, r.segment_offset, r.epoch, r.time)
ATOLL_FIELDS(const Punched, r.inode, r.offset, r.length, r.time)
ATOLL_FIELDS(const XattrSet, r.inode, r.name, r.value, r.mode, r.time)
ATOLL_FIELDS(const XattrRemoved, r.inode, r.name, r.time)
ATOLL_FIELDS(const Purged, r.inode)
ATOLL_FIELDS(const SegmentFinished, r.segment, r.bytes, r.time)
ATOLL_FIELDS(const UploadIntended, r.segment, r.attempt, r.k, r.n)
ATOLL_FIELDS(const ShardPlaced, r.segment, r.attempt, r.home.shard, r.home.node)
ATOLL_FIELDS(const SegmentDropped, r.segment, r.running_seconds)
ATOLL_FIELDS(const GarbageRemoved, r.attempt)
ATOLL_FIELDS(const RanFor, r.seconds)
ATOLL_FIELDS(const ShardMoving, r.segment, r.attempt, r.home.shard, r.home.node, r.running_seconds)
ATOLL_FIELDS(const ShardMoved, r.segment, r.attempt, r.shard, r.from, r.to, r.running_seconds)
ATOLL_FIELDS(const StrayRemoved, r.segment, r.attempt, r.home.shard, r.home.node)
ATOLL_FIELDS(const NodeLeaving, r.node, r.leaving)
ATOLL_FIELDS(const NodeRemoved, r.node)
ATOLL_FIELDS(const AttemptLeft, r.segment, r.attempt, r.k, r.n, r.bytes, r.running_seconds)
#undef ATOLL_FIELDS

template <typename Io, typename R>
void fields(const NodeAdded*, Io& io, R& r) {
  io(r.spec.id);
  io(r.spec.url);
  io.labels(r.spec.labels);
}

template <typename Io, typename R>
void fields(const InodeMade*, Io& io, R& r) {
  io(r.inode);
  io(r.parent);
  io(r.name);
  io(r.cookie);
  io(r.mode);
  io(r.uid);
  io(r.gid);
  io(r.device);
  io(r.target);
  io(r.time);
  io.list(r.xattrs, [&io](auto& item) {
    io(item.first);
    io(item.second);
  });
}

template <typename Io, typename R>
void fields(const AttributesSet*, Io& io, R& r) {
  io(r.inode);
  io(r.mask);
  if (r.mask & AttributesSet::mode_bit) io(r.mode);
  if (r.mask & AttributesSet::uid_bit) io(r.uid);
  if (r.mask & AttributesSet::gid_bit) io(r.gid);
  if (r.mask & AttributesSet::size_bit) io(r.size);
  if (r.mask & AttributesSet::atime_bit) io(r.atime);
  if (r.mask & AttributesSet::mtime_bit) io(r.mtime);
  if (r.mask & AttributesSet::ctime_bit) io(r.ctime);
}

template <typename Io, typename R>
void fields(const Shared*, Io& io, R& r) {
  io(r.inode);
  io(r.offset);
  io.list(r.pieces, [&io](auto& piece) {
    io(piece.length);
    io(piece.extent);
    io(piece.extent_offset);
  });
  io(r.time);
}

template <typename Io, typename R>
void fields(const Relocated*, Io& io, R& r) {
  io(r.from);
  io(r.to);
  io.list(r.moves, [&io](auto& move) {
    io(move.extent);
    io(move.old_offset);
    io(move.new_offset);
  });
}

/// Reads the payload of the record type whose place in the variant is `index`.
template <std::size_t I = 0>
bool decode_payload(std::size_t index, ByteView payload, Record& record) {
  if constexpr (I == std::variant_size_v<Record>) {
    return false;
  } else {
    if (index != I) return decode_payload<I + 1>(index, payload, record);
    using Type = std::variant_alternative_t<I, Record>;
    Type value;
    Reader reader{Decoder(payload)};
    fields(static_cast<const Type*>(nullptr), reader, value);
    if (!reader.in.done()) return false;
    record = std::move(value);
    return true;
  }
}

std::string at(InodeNumber parent, const std::string& name) { return std::to_string(parent.value) + "/'" + name + "'"; }
std::string number(std::uint64_t value) { return std::to_string(value); }
std::string brief(const NodeId& node) { return node.hex().substr(0, 12); }

struct Describe {
  std::string operator()(const VolumeMade& r) const { return "volume made " + r.volume.hex(); }
  std::string operator()(const RedundancySet& r) const {
    return "redundancy " + number(r.k) + "/" + number(r.n) + ", protected at " + number(r.protect_min);
  }
  std::string operator()(const NodeAdded& r) const { return "node added " + r.spec.id.hex().substr(0, 12) + " " + r.spec.url; }
  std::string operator()(const InodeMade& r) const {
    std::array<char, 16> mode{};
    std::snprintf(mode.data(), mode.size(), "%o", r.mode);
    return "inode made " + number(r.inode.value) + " at " + at(r.parent, r.name) + " mode " + mode.data();
  }
  std::string operator()(const Linked& r) const { return "linked " + number(r.inode.value) + " at " + at(r.parent, r.name); }
  std::string operator()(const Unlinked& r) const {
    return "unlinked " + at(r.parent, r.name) + " (inode " + number(r.inode.value) + ")";
  }
  std::string operator()(const Renamed& r) const {
    return std::string(r.exchange ? "exchanged " : "renamed ") + at(r.from, r.from_name) + " -> " + at(r.to, r.to_name) +
           " (inode " + number(r.inode.value) +
           (r.replaced.value != 0 ? ", replaced " + number(r.replaced.value) : std::string()) + ")";
  }
  std::string operator()(const AttributesSet& r) const {
    std::string text = "attributes set " + number(r.inode.value);
    if (r.mask & AttributesSet::size_bit) text += " size " + number(r.size);
    if (r.mask & AttributesSet::mode_bit) text += " mode";
    if (r.mask & (AttributesSet::uid_bit | AttributesSet::gid_bit)) text += " owner";
    if (r.mask & (AttributesSet::atime_bit | AttributesSet::mtime_bit)) text += " times";
    return text;
  }
  std::string operator()(const Written& r) const {
    return "written " + number(r.inode.value) + " [" + number(r.offset) + " +" + number(r.length) + "] extent " +
           number(r.extent.value) + " in segment " + number(r.segment.value) + " at " + number(r.segment_offset);
  }
  std::string operator()(const Shared& r) const {
    return "shared into " + number(r.inode.value) + " at " + number(r.offset) + ", " + number(r.pieces.size()) + " pieces";
  }
  std::string operator()(const Punched& r) const {
    return "punched " + number(r.inode.value) + " [" + number(r.offset) + " +" + number(r.length) + "]";
  }
  std::string operator()(const XattrSet& r) const { return "xattr set " + number(r.inode.value) + " " + r.name; }
  std::string operator()(const XattrRemoved& r) const { return "xattr removed " + number(r.inode.value) + " " + r.name; }
  std::string operator()(const Purged& r) const { return "purged " + number(r.inode.value); }
  std::string operator()(const SegmentFinished& r) const {
    return "segment finished " + number(r.segment.value) + ", " + number(r.bytes) + " bytes";
  }
  std::string operator()(const UploadIntended& r) const {
    return "upload intended: segment " + number(r.segment.value) + " attempt " + r.attempt.hex() + " " + number(r.k) + "/" +
           number(r.n);
  }
  std::string operator()(const ShardPlaced& r) const {
    return "shard placed: segment " + number(r.segment.value) + " shard " + number(r.home.shard.value) + " on " +
           r.home.node.hex().substr(0, 12);
  }
  std::string operator()(const Relocated& r) const {
    return "relocated " + number(r.moves.size()) + " extents from segment " + number(r.from.value) + " to " +
           number(r.to.value);
  }
  std::string operator()(const SegmentDropped& r) const { return "segment dropped " + number(r.segment.value); }
  std::string operator()(const GarbageRemoved& r) const { return "garbage removed: attempt " + r.attempt.hex(); }
  std::string operator()(const RanFor& r) const { return "ran for " + number(r.seconds) + " s"; }
  std::string operator()(const ShardMoving& r) const {
    return "shard moving: segment " + number(r.segment.value) + " shard " + number(r.home.shard.value) + " to " + brief(r.home.node);
  }
  std::string operator()(const ShardMoved& r) const {
    return "shard moved: segment " + number(r.segment.value) + " shard " + number(r.shard.value) + " from " + brief(r.from) +
           " to " + brief(r.to);
  }
  std::string operator()(const StrayRemoved& r) const {
    return "stray removed: segment " + number(r.segment.value) + " shard " + number(r.home.shard.value) + " from " + brief(r.home.node);
  }
  std::string operator()(const NodeLeaving& r) const {
    return "node " + brief(r.node) + (r.leaving ? " is to be emptied" : " stays");
  }
  std::string operator()(const NodeRemoved& r) const { return "node " + brief(r.node) + " removed"; }
  std::string operator()(const AttemptLeft& r) const {
    return "attempt left: segment " + number(r.segment.value) + " of another computer, " + r.attempt.hex().substr(0, 12);
  }
};

}  // namespace

void encode_record(const Record& record, Bytes& out) {
  out.push_back(static_cast<std::uint8_t>(record.index() + 1));  // 0 is never a type: zeros are no record
  // Most payloads are shorter than 128 bytes: encode in place behind one length byte, and move only the long ones.
  const std::size_t length_at = out.size();
  out.push_back(0);
  std::visit(
      [&out](const auto& value) {
        Writer writer{Encoder(out)};
        fields(static_cast<const std::decay_t<decltype(value)>*>(nullptr), writer, value);
      },
      record);
  const std::size_t length = out.size() - length_at - 1;
  if (length < 0x80) {
    out[length_at] = static_cast<std::uint8_t>(length);
    return;
  }
  Bytes prefix;
  Encoder(prefix).varint(length);
  out[length_at] = prefix[0];
  out.insert(out.begin() + static_cast<std::ptrdiff_t>(length_at) + 1, prefix.begin() + 1, prefix.end());
}

Result<> decode_records(ByteView body, const std::function<Result<>(const Record&)>& visit) {
  Decoder in(body);
  while (in.ok() && in.remaining() > 0) {
    const std::uint8_t type = in.u8();
    const ByteView payload = in.blob();
    if (!in.ok()) break;
    if (type == 0) return fail(Code::corrupt, "a journal batch holds a record of type 0");
    if (type > std::variant_size_v<Record>) {
      return fail(Code::newer_format, "the journal holds a record of type " + std::to_string(type) + ", which this version does not know",
                  "use the version of atoll that wrote this drive");
    }
    Record record;
    if (!decode_payload(type - 1u, payload, record)) {
      return fail(Code::corrupt, "a journal record of type " + std::to_string(type) + " is malformed");
    }
    if (auto result = visit(record); !result) return result;
  }
  if (!in.ok()) return fail(Code::corrupt, "a journal batch ends within a record");
  return {};
}

std::string describe(const Record& record) { return std::visit(Describe{}, record); }

}  // namespace atl
