#include "cache/drive/extent_reader.h"

#include <cstring>
#include <utility>

namespace atl {
namespace {

constexpr std::size_t cached_max = 24;  // of at most 128 KiB

/// A buffer that this thread keeps between reads and that is taken while one is under way: reads wait for nodes, and
/// where threads are simulated as fibers the next one then reads on the same thread.
class ScratchFrame {
 public:
  ScratchFrame() : bytes(std::exchange(kept(), {})) {}
  ~ScratchFrame() { kept() = std::move(bytes); }
  ScratchFrame(const ScratchFrame&) = delete;
  ScratchFrame& operator=(const ScratchFrame&) = delete;

  Bytes bytes;

 private:
  static Bytes& kept() {
    thread_local Bytes buffer;
    return buffer;
  }
};

}  // namespace

std::shared_ptr<const Bytes> ExtentReader::find_cached(ExtentId extent) {
  std::lock_guard lock(mutex_);
  for (auto it = cached_.begin(); it != cached_.end(); ++it) {
    if (it->extent != extent) continue;
    cached_.splice(cached_.begin(), cached_, it);
    return it->plain;
  }
  return nullptr;
}

void ExtentReader::keep(ExtentId extent, std::shared_ptr<const Bytes> plain) {
  std::lock_guard lock(mutex_);
  cached_.push_front({extent, std::move(plain)});
  if (cached_.size() > cached_max) cached_.pop_back();
}

void ExtentReader::forget_cached() {
  std::lock_guard lock(mutex_);
  cached_.clear();
}

Result<> ExtentReader::open_whole(ExtentId extent, const ExtentRow& row, MutableBytes out, std::uint64_t until, MonotonicTime deadline,
                                  const std::stop_token& stop, Bytes* frame_out) {
  const ExtentContext context{core_.keyring.volume(), row.epoch, extent, row.length};
  const ExtentSealer& sealer = core_.sealer(row.epoch);
  ScratchFrame scratch;
  Bytes& frame = frame_out != nullptr ? *frame_out : scratch.bytes;
  frame.resize(frame_bytes(row.length));
  const auto open = [&]() -> Result<> {
    auto header = core_.frames->open(ByteView(frame).first(frame_header_bytes));
    if (!header) return fail(header.error());
    if (header->extent != extent || header->plain_bytes != row.length || header->epoch != row.epoch.value) {
      return fail(Code::corrupt, "extent " + std::to_string(header->extent.value) + " of " + std::to_string(header->plain_bytes) +
                                     " bytes stands at byte " + std::to_string(row.offset) + " of segment " + std::to_string(row.segment.value) +
                                     ", the place of extent " + std::to_string(extent.value) + " of " + std::to_string(row.length));
    }
    return sealer.open(context, ByteView(frame).subspan(frame_header_bytes, row.length + seal_overhead_bytes), out);
  };

  Result<> local = fail(Code::not_found);
  const auto file = core_.segments->find(row.segment);
  if (file && file->holds(row.offset, frame.size())) {
    local = file->read(row.offset, frame);
    if (local) local = open();
    if (local) {
      ++core_.counters.staged_reads;
      return {};
    }
  }
  SegmentRow segment;
  {
    std::lock_guard lock(core_.mutex);
    const auto now = core_.tables->extent(extent);
    if (!now || now->segment != row.segment || now->offset != row.offset) return fail(Code::not_found, "the extent has moved");
    const auto found = core_.tables->segments().find(row.segment);
    if (found != core_.tables->segments().end()) segment = found->second;
  }
  const bool on_nodes = segment.has_attempt && segment.placed.size() >= segment.k;
  if (!on_nodes) {
    // Only this computer has it.
    if (local.error().code == Code::not_found) return fail(Code::io, "the staged segment " + std::to_string(row.segment.value) + " is missing");
    return local;
  }
  const auto here = local.error().code == Code::not_found ? SegmentFetcher::Local::missing : SegmentFetcher::Local::distrusted;
  if (auto fetched = fetcher_.fetch(row.segment, segment, row.offset, frame, until, here, deadline, stop); !fetched) {
    // Compaction may have moved it, and its old objects may be gone.
    std::lock_guard lock(core_.mutex);
    const auto now = core_.tables->extent(extent);
    if (!now || now->segment != row.segment || now->offset != row.offset) return fail(Code::not_found, "the extent has moved");
    return fetched;
  }
  if (auto opened = open(); !opened) return opened;
  ++core_.counters.node_extents;
  if (local.error().code != Code::not_found) {
    ++core_.counters.healed_extents;
    // The local copy lies: it is dropped whole and will be fetched again, but not before a crash could do without it.
    if (segment.full()) {
      std::lock_guard lock(core_.mutex);
      ++core_.changes;
      core_.after_durable.push_back([this, id = row.segment] { (void)core_.segments->remove(id); });
    }
  }
  return {};
}

Result<> ExtentReader::read(ExtentId extent, const ExtentRow& row, std::uint32_t from, MutableBytes out, std::uint64_t until,
                            MonotonicTime deadline, const std::stop_token& stop) {
  if (std::uint64_t{from} + out.size() > row.length) return fail(Code::corrupt, "a file shows more of an extent than there is");
  if (out.size() == row.length) return open_whole(extent, row, out, until, deadline, stop, nullptr);
  std::shared_ptr<const Bytes> plain = find_cached(extent);
  if (!plain) {
    auto whole = std::make_shared<Bytes>(row.length);
    if (auto r = open_whole(extent, row, *whole, until, deadline, stop, nullptr); !r) return r;
    plain = whole;
    keep(extent, plain);
  }
  std::memcpy(out.data(), plain->data() + from, out.size());
  return {};
}

Result<Bytes> ExtentReader::read_frame(ExtentId extent, const ExtentRow& row, MonotonicTime deadline, const std::stop_token& stop) {
  Bytes plain(row.length), frame;
  if (auto r = open_whole(extent, row, plain, 0, deadline, stop, &frame); !r) return fail(r.error());
  return frame;
}

}  // namespace atl
