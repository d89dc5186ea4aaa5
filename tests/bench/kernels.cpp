// What one core does with bytes: sealing, encoding, authenticating, rebuilding. Beside each stands what it is made of,
// so that a lost factor shows. Build with -DATOLL_BENCH=ON in the release preset and run
// build/release/tests/bench_kernels.
#include <benchmark/benchmark.h>
#include <isa-l/erasure_code.h>

#include "cache/erasure/shard_codec.h"
#include "cache/sealing/extent_sealer.h"

namespace atl {
namespace {

Bytes some_bytes(std::size_t count) {
  Bytes bytes(count);
  SystemRandom().fill(bytes);
  return bytes;
}

LeafMacs some_macs() {
  SystemRandom random;
  return {SecretKey::random(random), random.id<VolumeId>(), random.id<AttemptId>()};
}

Redundancy redundancy_of(const benchmark::State& state) {
  return {static_cast<std::uint8_t>(state.range(0)), static_cast<std::uint8_t>(state.range(1))};
}

void count_bytes(benchmark::State& state, std::uint64_t bytes) {
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * bytes));
}

void seal(benchmark::State& state) {
  SystemRandom random;
  const ExtentSealer sealer(SecretKey::random(random), random);
  const auto length = static_cast<std::uint32_t>(state.range(0));
  const ExtentContext context{random.id<VolumeId>(), KeyEpoch(1), ExtentId(1), length};
  const Bytes plain = some_bytes(length);
  Bytes sealed(length + seal_overhead_bytes);
  for (auto _ : state) sealer.seal(context, plain, sealed);
  count_bytes(state, length);
}

void open(benchmark::State& state) {
  SystemRandom random;
  const ExtentSealer sealer(SecretKey::random(random), random);
  const auto length = static_cast<std::uint32_t>(state.range(0));
  const ExtentContext context{random.id<VolumeId>(), KeyEpoch(1), ExtentId(1), length};
  Bytes plain = some_bytes(length);
  Bytes sealed(length + seal_overhead_bytes);
  sealer.seal(context, plain, sealed);
  for (auto _ : state)
    if (!sealer.open(context, sealed, plain)) state.SkipWithError("an extent did not open");
  count_bytes(state, length);
}

void leaf_mac(benchmark::State& state) {
  const LeafMacs macs = some_macs();
  const Bytes leaf = some_bytes(leaf_bytes);
  std::array<std::uint8_t, leaf_mac_bytes> mac;
  for (auto _ : state) macs.compute(ShardIndex(0), 0, leaf, mac);
  count_bytes(state, leaf_bytes);
}

/// A full segment to n objects, MACs included; bytes of the segment.
void encode(benchmark::State& state) {
  const Redundancy redundancy = redundancy_of(state);
  const LeafMacs macs = some_macs();
  const Bytes segment = some_bytes(ShardGeometry::full_segment_bytes(redundancy));
  const ShardGeometry geometry = ShardGeometry::of(redundancy, segment.size());
  for (auto _ : state) {
    const EncodedSegment encoded(geometry, segment, macs);
    benchmark::DoNotOptimize(&encoded);
  }
  count_bytes(state, segment.size());
}

/// The same parity by ISA-L alone, leaf by leaf into memory that is there already.
void encode_isal_alone(benchmark::State& state) {
  const Redundancy redundancy = redundancy_of(state);
  const std::size_t k = redundancy.k;
  const std::size_t m = redundancy.n - k;
  Bytes segment = some_bytes(ShardGeometry::full_segment_bytes(redundancy));
  const std::size_t payload = segment.size() / k;
  Bytes parity(m * payload);
  Bytes matrix(redundancy.n * k);
  gf_gen_cauchy1_matrix(matrix.data(), redundancy.n, redundancy.k);
  Bytes table(32 * k * m);
  ec_init_tables(redundancy.k, static_cast<int>(m), &matrix[k * k], table.data());
  std::vector<std::uint8_t*> from(k);
  std::vector<std::uint8_t*> to(m);
  for (auto _ : state) {
    for (std::size_t at = 0; at < payload; at += leaf_bytes) {
      for (std::size_t i = 0; i < k; ++i) from[i] = &segment[i * payload + at];
      for (std::size_t i = 0; i < m; ++i) to[i] = &parity[i * payload + at];
      ec_encode_data(leaf_bytes, redundancy.k, static_cast<int>(m), table.data(), from.data(), to.data());
    }
    benchmark::ClobberMemory();
  }
  count_bytes(state, segment.size());
}

/// One lost data shard from the k last ones; bytes of that shard.
void rebuild(benchmark::State& state) {
  const Redundancy redundancy = redundancy_of(state);
  const Bytes leaves = some_bytes(64 * leaf_bytes);
  std::vector<std::pair<ShardIndex, ByteView>> available;
  for (std::size_t i = redundancy.n - redundancy.k; i < redundancy.n; ++i)
    available.emplace_back(ShardIndex(static_cast<std::uint8_t>(i)), leaves);
  for (auto _ : state) benchmark::DoNotOptimize(rebuild_leaves(redundancy, ShardIndex(0), available));
  count_bytes(state, leaves.size());
}

BENCHMARK(seal)->Arg(4096)->Arg(extent_bytes_max);
BENCHMARK(open)->Arg(4096)->Arg(extent_bytes_max);
BENCHMARK(leaf_mac);
BENCHMARK(encode)->Args({3, 6})->Args({8, 12})->Args({20, 29})->Args({29, 80})->Unit(benchmark::kMillisecond);
BENCHMARK(encode_isal_alone)
    ->Args({3, 6})
    ->Args({8, 12})
    ->Args({20, 29})
    ->Args({29, 80})
    ->Unit(benchmark::kMillisecond);
BENCHMARK(rebuild)->Args({3, 6})->Args({8, 12})->Args({20, 29})->Args({29, 80});

}  // namespace
}  // namespace atl

BENCHMARK_MAIN();
