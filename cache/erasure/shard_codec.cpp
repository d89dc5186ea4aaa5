#include "cache/erasure/shard_codec.h"

#include <isa-l/erasure_code.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <list>
#include <mutex>
#include <new>
#include <optional>
#include <unordered_map>

namespace atl {

namespace {

constexpr std::size_t table_bytes = 32;  // that ISA-L expands each coefficient to

/// Expanded coefficients, least recently used ones dropped. Thread-safe; a table in use outlives its place.
class TableCache {
 public:
  using Table = std::shared_ptr<const Bytes>;

  /// The table under `name`, made by `make` if absent. Two threads that miss at once both make it; either serves.
  template <typename Make>
  Table find_or_make(const std::string& name, Make make) {
    {
      const std::lock_guard lock(mutex_);
      if (const auto found = places_.find(name); found != places_.end()) {
        order_.splice(order_.begin(), order_, found->second);
        return found->second->second;
      }
    }
    Table table = std::make_shared<const Bytes>(make());
    const std::lock_guard lock(mutex_);
    if (places_.contains(name)) return table;
    order_.emplace_front(name, table);
    places_.emplace(name, order_.begin());
    if (order_.size() > tables_max) {
      places_.erase(order_.back().first);
      order_.pop_back();
    }
    return table;
  }

 private:
  static constexpr std::size_t tables_max = 512;

  std::mutex mutex_;
  std::list<std::pair<std::string, Table>> order_;  // latest first
  std::unordered_map<std::string, std::list<std::pair<std::string, Table>>::iterator> places_;
};

TableCache& tables() {
  static TableCache cache;
  return cache;
}

std::string table_name(char kind, Redundancy redundancy, const std::vector<std::uint8_t>& rest) {
  std::string name{kind, static_cast<char>(redundancy.k), static_cast<char>(redundancy.n)};
  name.append(rest.begin(), rest.end());
  return name;
}

/// n rows of k coefficients: the identity, then Cauchy rows. Any k rows are independent.
Bytes generator(Redundancy redundancy) {
  Bytes matrix(std::size_t{redundancy.n} * redundancy.k);
  gf_gen_cauchy1_matrix(matrix.data(), redundancy.n, redundancy.k);
  return matrix;
}

Bytes expand(Bytes coefficients, std::size_t k) {
  const std::size_t rows = coefficients.size() / k;
  Bytes table(table_bytes * coefficients.size());
  ec_init_tables(static_cast<int>(k), static_cast<int>(rows), coefficients.data(), table.data());
  return table;
}

TableCache::Table parity_table(Redundancy redundancy) {
  return tables().find_or_make(table_name('e', redundancy, {}), [&] {
    const Bytes matrix = generator(redundancy);
    return expand(Bytes(matrix.begin() + redundancy.k * redundancy.k, matrix.end()), redundancy.k);
  });
}

/// The one row that gives shard `wanted` from the k shards `sources`.
TableCache::Table rebuild_table(Redundancy redundancy, std::uint8_t wanted, const std::vector<std::uint8_t>& sources) {
  std::vector<std::uint8_t> rest{wanted};
  rest.insert(rest.end(), sources.begin(), sources.end());
  return tables().find_or_make(table_name('d', redundancy, rest), [&] {
    const std::size_t k = redundancy.k;
    const Bytes matrix = generator(redundancy);
    Bytes rows(k * k);
    for (std::size_t i = 0; i < k; ++i) std::memcpy(&rows[i * k], &matrix[sources[i] * k], k);
    Bytes inverse(k * k);
    const int singular = gf_invert_matrix(rows.data(), inverse.data(), static_cast<int>(k));
    assert(singular == 0);
    (void)singular;
    Bytes row(k);
    for (std::size_t column = 0; column < k; ++column)
      for (std::size_t i = 0; i < k; ++i) row[column] ^= gf_mul(matrix[wanted * k + i], inverse[i * k + column]);
    return expand(std::move(row), k);
  });
}

// ISA-L takes what it only reads through pointers to non-const.
std::uint8_t* reading(const std::uint8_t* bytes) {
  return const_cast<std::uint8_t*>(bytes);
}

constexpr std::array<std::uint8_t, leaf_bytes> zero_leaf{};

/// Memory for tens of megabytes that are written once and given back at once. In pages of 4 KiB the faults of fresh
/// memory cost several times as much as the encoding: huge pages are asked for, and it works without them. A mapping
/// of its own, since the allocator's heap should not keep such pages.
class LargeBuffer {
 public:
  explicit LargeBuffer(std::size_t size) : mapped_bytes_(size + huge_page_bytes) {
    base_ = ::mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base_ == MAP_FAILED) throw std::bad_alloc();
    void* aligned = base_;
    std::size_t space = mapped_bytes_;
    std::align(huge_page_bytes, size, aligned, space);
    bytes_ = static_cast<std::uint8_t*>(aligned);
    // Whole huge pages only: the rest of a last one would be memory for nothing.
    if (const std::size_t whole = size / huge_page_bytes * huge_page_bytes; whole > 0)
      (void)::madvise(bytes_, whole, MADV_HUGEPAGE);
  }
  ~LargeBuffer() { ::munmap(base_, mapped_bytes_); }
  LargeBuffer(const LargeBuffer&) = delete;
  LargeBuffer& operator=(const LargeBuffer&) = delete;

  std::uint8_t* data() const { return bytes_; }
  /// Gives back the pages that lie in [offset, offset + length) as a whole; they read as zeros from now on.
  void give_back(std::size_t offset, std::size_t length) const {
    static const auto page_bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const std::size_t begin = (offset + page_bytes - 1) / page_bytes * page_bytes;
    const std::size_t end = (offset + length) / page_bytes * page_bytes;
    if (begin < end) (void)::madvise(bytes_ + begin, end - begin, MADV_DONTNEED);
  }

 private:
  static constexpr std::size_t huge_page_bytes = 2 * 1024 * 1024;

  std::size_t mapped_bytes_;
  void* base_;
  std::uint8_t* bytes_;
};

}  // namespace

std::pair<std::uint64_t, std::uint64_t> ShardGeometry::part(ShardIndex shard) const {
  const std::uint64_t begin = std::min(segment_bytes, shard.value * payload_bytes());
  return {begin, std::min(segment_bytes - begin, payload_bytes())};
}

std::vector<ShardContent> cut_shards(const ShardGeometry& geometry, ByteView segment, const std::shared_ptr<const void>& owner) {
  assert(segment.size() == geometry.segment_bytes);
  std::vector<ShardContent> parts;
  for (std::uint8_t shard = 0; shard < geometry.redundancy.k; ++shard) {
    const auto [begin, length] = geometry.part(ShardIndex(shard));
    parts.push_back({segment.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(length)), owner});
  }
  return parts;
}

struct EncodedSegment::State {
  ShardGeometry geometry;
  std::array<std::uint8_t, shard_header_bytes> header = shard_header();
  Bytes padded_leaf;                          // the segment's last, if it does not fill one
  std::unique_ptr<std::uint8_t[]> data_macs;  // of shard 0's leaves, then shard 1's, ...
  std::uint8_t* parity = nullptr;             // whole objects, one after the other

  mutable std::mutex mutex;                           // guards the rest
  std::vector<std::optional<ShardContent>> shards;    // data: the part of the segment; parity: the object; none once released

  ByteView data_leaf(const ShardContent& shard, std::size_t leaf) const {
    const std::size_t offset = leaf * leaf_bytes;
    if (offset >= shard.bytes.size()) return zero_leaf;
    if (shard.bytes.size() - offset < leaf_bytes) return padded_leaf;
    return shard.bytes.subspan(offset, leaf_bytes);
  }
  std::uint8_t* data_mac(std::size_t shard, std::size_t leaf) const {
    return &data_macs[(shard * geometry.leaves + leaf) * leaf_mac_bytes];
  }
  std::uint8_t* parity_object(std::size_t index) const { return parity + index * geometry.object_bytes(); }
};

EncodedSegment::EncodedSegment(const ShardGeometry& geometry, std::vector<ShardContent> data, const LeafMacs& macs)
    : state_(std::make_shared<State>()) {
  const std::size_t k = geometry.redundancy.k;
  const std::size_t m = geometry.redundancy.n - k;
  assert(data.size() == k && geometry.segment_bytes <= k * geometry.payload_bytes());
  State& state = *state_;
  state.geometry = geometry;

  // Every part but the segment's last fills its shard.
  for (const ShardContent& shard : data) {
    const std::size_t tail = shard.bytes.size() % leaf_bytes;
    if (tail == 0) continue;
    state.padded_leaf.assign(leaf_bytes, 0);
    std::memcpy(state.padded_leaf.data(), shard.bytes.data() + shard.bytes.size() - tail, tail);
  }
  state.data_macs = std::make_unique_for_overwrite<std::uint8_t[]>(k * geometry.leaves * leaf_mac_bytes);
  const auto object_bytes = static_cast<std::size_t>(geometry.object_bytes());
  const auto buffer = std::make_shared<const LargeBuffer>(m * object_bytes);
  state.parity = buffer->data();
  state.shards.assign(data.begin(), data.end());
  for (std::size_t parity = 0; parity < m; ++parity) {
    std::uint8_t* const object = state.parity_object(parity);
    std::memcpy(object, state.header.data(), state.header.size());
    // One buffer for all, for the sake of its huge pages; what a shard took of it goes with the shard.
    std::shared_ptr<const void> owner(object, [buffer, parity, object_bytes](const void*) { buffer->give_back(parity * object_bytes, object_bytes); });
    state.shards.push_back(ShardContent{{object, object_bytes}, std::move(owner)});
  }

  // Leaf by leaf, so that what was just read or computed is authenticated while it is in the processor's cache.
  const TableCache::Table table = parity_table(geometry.redundancy);
  std::vector<std::uint8_t*> from(k);
  std::vector<std::uint8_t*> to(m);
  for (std::uint32_t leaf = 0; leaf < geometry.leaves; ++leaf) {
    for (std::size_t shard = 0; shard < k; ++shard) {
      const ByteView bytes = state.data_leaf(data[shard], leaf);
      from[shard] = reading(bytes.data());
      macs.compute(ShardIndex(static_cast<std::uint8_t>(shard)), leaf, bytes,
                   std::span<std::uint8_t, leaf_mac_bytes>(state.data_mac(shard, leaf), leaf_mac_bytes));
    }
    if (m == 0) continue;
    for (std::size_t parity = 0; parity < m; ++parity)
      to[parity] = state.parity_object(parity) + ShardGeometry::leaf_offset(leaf);
    ec_encode_data(leaf_bytes, static_cast<int>(k), static_cast<int>(m), reading(table->data()), from.data(),
                   to.data());
    for (std::size_t parity = 0; parity < m; ++parity)
      macs.compute(ShardIndex(static_cast<std::uint8_t>(k + parity)), leaf, {to[parity], leaf_bytes},
                   std::span<std::uint8_t, leaf_mac_bytes>(to[parity] + leaf_bytes, leaf_mac_bytes));
  }
}

EncodedSegment::~EncodedSegment() {
  // Objects that outlive this share the rest of the state, and keep no shard but their own.
  std::vector<std::optional<ShardContent>> shards;
  const std::lock_guard lock(state_->mutex);
  shards.swap(state_->shards);
}

ObjectBody EncodedSegment::object(ShardIndex shard) const {
  const ShardGeometry& geometry = state_->geometry;
  assert(shard.value < geometry.redundancy.n);
  std::optional<ShardContent> content;
  {
    const std::lock_guard lock(state_->mutex);
    content = state_->shards[shard.value];
  }
  if (!content) return {};
  if (shard.value >= geometry.redundancy.k) return {{content->bytes}, std::move(content->owner)};
  std::vector<ByteView> views;
  views.reserve(1 + 2 * geometry.leaves);
  views.push_back(state_->header);
  for (std::uint32_t leaf = 0; leaf < geometry.leaves; ++leaf) {
    views.push_back(state_->data_leaf(*content, leaf));
    views.push_back({state_->data_mac(shard.value, leaf), leaf_mac_bytes});
  }
  using Owners = std::pair<std::shared_ptr<const State>, std::shared_ptr<const void>>;
  return {std::move(views), std::make_shared<const Owners>(state_, std::move(content->owner))};
}

void EncodedSegment::release(ShardIndex shard) {
  std::optional<ShardContent> content;  // its memory goes outside of the lock
  const std::lock_guard lock(state_->mutex);
  std::swap(content, state_->shards[shard.value]);
}

Result<> rebuild_leaves(Redundancy redundancy, ShardIndex wanted, const std::vector<std::pair<ShardIndex, ByteView>>& available,
                        MutableBytes rebuilt) {
  assert(redundancy.k >= 1 && redundancy.k <= redundancy.n && wanted.value < redundancy.n);
  std::array<const ByteView*, 256> by_shard{};
  std::size_t distinct = 0;
  for (const auto& [shard, leaves] : available) {
    if (shard.value >= redundancy.n) return fail(Code::invalid, "there is no shard " + std::to_string(shard.value));
    if (leaves.size() != rebuilt.size() || leaves.size() % leaf_bytes != 0 || leaves.empty())
      return fail(Code::invalid, "the shards' runs of leaves do not have the same length");
    if (by_shard[shard.value] == nullptr) ++distinct;
    by_shard[shard.value] = &leaves;
  }
  if (const ByteView* there = by_shard[wanted.value]) {
    std::memcpy(rebuilt.data(), there->data(), there->size());
    return {};
  }
  if (distinct < redundancy.k)
    return fail(Code::too_few_nodes,
                std::to_string(distinct) + " shards are readable and " + std::to_string(redundancy.k) + " are needed",
                "bring missing nodes back");

  // The first k in order: data shards before parity, and one table for one set whatever the order it came in.
  std::vector<std::uint8_t> sources;
  std::vector<std::uint8_t*> from;
  for (std::size_t shard = 0; sources.size() < redundancy.k; ++shard) {
    if (by_shard[shard] == nullptr) continue;
    sources.push_back(static_cast<std::uint8_t>(shard));
    from.push_back(reading(by_shard[shard]->data()));
  }
  const TableCache::Table table = rebuild_table(redundancy, wanted.value, sources);
  // In steps: ISA-L counts in int, and short runs of many sources stay in the processor's cache.
  for (std::size_t at = 0; at < rebuilt.size(); at += leaf_bytes) {
    std::uint8_t* to = rebuilt.data() + at;
    ec_encode_data(leaf_bytes, redundancy.k, 1, reading(table->data()), from.data(), &to);
    for (std::uint8_t*& source : from) source += leaf_bytes;
  }
  return {};
}

}  // namespace atl
