// What one core does with bytes and rows: sealing, encoding, authenticating, rebuilding, journal and index. Beside each
// stands what it is made of (NAME_alone: the bare library call), so that a lost factor shows. tests/bench/run runs it as
// its group `kernels`; journal and index write to a new folder below TMPDIR.
#include <benchmark/benchmark.h>
#include <isa-l/erasure_code.h>
#include <openssl/evp.h>
#include <sodium.h>

#include <cstdlib>
#include <filesystem>

#include "cache/erasure/shard_codec.h"
#include "cache/index/index_store.h"
#include "cache/journal/journal.h"
#include "cache/sealing/extent_sealer.h"
#include "engine/base/posix_disk.h"

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

/// The same bytes by libsodium's XChaCha20-Poly1305.
void seal_libsodium_alone(benchmark::State& state) {
  const auto length = static_cast<std::size_t>(state.range(0));
  const Bytes plain = some_bytes(length);
  const Bytes key = some_bytes(crypto_aead_xchacha20poly1305_ietf_KEYBYTES);
  const Bytes nonce = some_bytes(crypto_aead_xchacha20poly1305_ietf_NPUBBYTES);
  const Bytes associated = some_bytes(46);
  Bytes sealed(length + crypto_aead_xchacha20poly1305_ietf_ABYTES);
  for (auto _ : state)
    crypto_aead_xchacha20poly1305_ietf_encrypt(sealed.data(), nullptr, plain.data(), length, associated.data(), associated.size(), nullptr,
                                               nonce.data(), key.data());
  count_bytes(state, length);
}

/// The same bytes by HChaCha20 and OpenSSL's ChaCha20-Poly1305, the fastest that Debian 12 has.
void seal_openssl_alone(benchmark::State& state) {
  const auto length = static_cast<int>(state.range(0));
  const Bytes plain = some_bytes(static_cast<std::size_t>(length));
  const Bytes key = some_bytes(32);
  const Bytes nonce = some_bytes(24);
  const Bytes associated = some_bytes(46);
  Bytes sealed(static_cast<std::size_t>(length) + 16);
  EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr);
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  if (EVP_CipherInit_ex(context, cipher, nullptr, nullptr, nullptr, 1) != 1) state.SkipWithError("no ChaCha20-Poly1305");
  std::array<std::uint8_t, crypto_core_hchacha20_OUTPUTBYTES> subkey{};
  std::array<std::uint8_t, 12> short_nonce{};
  for (auto _ : state) {
    int count = 0;
    crypto_core_hchacha20(subkey.data(), nonce.data(), key.data(), nullptr);
    EVP_CipherInit_ex(context, nullptr, nullptr, subkey.data(), short_nonce.data(), 1);
    EVP_CipherUpdate(context, nullptr, &count, associated.data(), static_cast<int>(associated.size()));
    EVP_CipherUpdate(context, sealed.data(), &count, plain.data(), length);
    EVP_CipherFinal_ex(context, sealed.data() + length, &count);
    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, sealed.data() + length);
  }
  EVP_CIPHER_CTX_free(context);
  EVP_CIPHER_free(cipher);
  count_bytes(state, static_cast<std::uint64_t>(length));
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
  const Bytes segment = some_bytes(ShardGeometry::segment_capacity(redundancy));
  const ShardGeometry geometry = ShardGeometry::of(redundancy, segment.size());
  for (auto _ : state) {
    const EncodedSegment encoded(geometry, cut_shards(geometry, segment, nullptr), macs);
    benchmark::DoNotOptimize(&encoded);
  }
  count_bytes(state, segment.size());
}

/// OpenSSL's Poly1305 over a leaf, with a key of its own as HChaCha20 gives it.
class BareMac {
 public:
  BareMac() : mac_(EVP_MAC_fetch(nullptr, "POLY1305", nullptr)), context_(EVP_MAC_CTX_new(mac_)), key_(some_bytes(crypto_core_hchacha20_KEYBYTES)) {}
  ~BareMac() {
    EVP_MAC_CTX_free(context_);
    EVP_MAC_free(mac_);
  }
  BareMac(const BareMac&) = delete;
  BareMac& operator=(const BareMac&) = delete;

  bool compute(const std::uint8_t* leaf) {
    std::array<std::uint8_t, crypto_core_hchacha20_OUTPUTBYTES> once{};
    std::size_t count = 0;
    crypto_core_hchacha20(once.data(), place_.data(), key_.data(), nullptr);
    return EVP_MAC_init(context_, once.data(), once.size(), nullptr) == 1 && EVP_MAC_update(context_, leaf, leaf_bytes) == 1 &&
           EVP_MAC_final(context_, made_.data(), &count, made_.size()) == 1;
  }

 private:
  EVP_MAC* mac_;
  EVP_MAC_CTX* context_;
  Bytes key_;
  std::array<std::uint8_t, crypto_core_hchacha20_INPUTBYTES> place_{};
  std::array<std::uint8_t, leaf_mac_bytes> made_{};
};

/// The same parity by ISA-L alone, leaf by leaf into memory that is there already; `mac`: and the MACs of all leaves.
void encode_alone(benchmark::State& state, BareMac* mac) {
  const Redundancy redundancy = redundancy_of(state);
  const std::size_t k = redundancy.k;
  const std::size_t m = redundancy.n - k;
  Bytes segment = some_bytes(ShardGeometry::segment_capacity(redundancy));
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
      for (const auto* shards : {&from, &to})
        for (const std::uint8_t* leaf : *shards)
          if (mac != nullptr && !mac->compute(leaf)) state.SkipWithError("no Poly1305");
    }
    benchmark::ClobberMemory();
  }
  count_bytes(state, segment.size());
}

void encode_isal_alone(benchmark::State& state) { encode_alone(state, nullptr); }

void encode_isal_poly1305_alone(benchmark::State& state) {
  BareMac mac;
  encode_alone(state, &mac);
}

/// One lost data shard from the k last ones; bytes of that shard.
void rebuild(benchmark::State& state) {
  const Redundancy redundancy = redundancy_of(state);
  const Bytes leaves = some_bytes(64 * leaf_bytes);
  std::vector<std::pair<ShardIndex, ByteView>> available;
  for (std::size_t i = redundancy.n - redundancy.k; i < redundancy.n; ++i)
    available.emplace_back(ShardIndex(static_cast<std::uint8_t>(i)), leaves);
  Bytes rebuilt(leaves.size());
  for (auto _ : state)
    if (!rebuild_leaves(redundancy, ShardIndex(0), available, rebuilt)) state.SkipWithError("a shard was not rebuilt");
  count_bytes(state, leaves.size());
}

/// The same row of the inverted matrix by ISA-L alone, into memory that is there already.
void rebuild_isal_alone(benchmark::State& state) {
  const Redundancy redundancy = redundancy_of(state);
  const std::size_t k = redundancy.k;
  Bytes leaves = some_bytes(64 * leaf_bytes);
  Bytes rebuilt(leaves.size());
  Bytes row = some_bytes(k);
  Bytes table(32 * k);
  ec_init_tables(redundancy.k, 1, row.data(), table.data());
  std::vector<std::uint8_t*> from(k);
  for (auto _ : state) {
    for (std::size_t at = 0; at < leaves.size(); at += leaf_bytes) {
      for (std::size_t i = 0; i < k; ++i) from[i] = &leaves[at];
      std::uint8_t* to = &rebuilt[at];
      ec_encode_data(leaf_bytes, redundancy.k, 1, table.data(), from.data(), &to);
    }
    benchmark::ClobberMemory();
  }
  count_bytes(state, leaves.size());
}

/// A new folder on a disk, gone with it.
class Folder {
 public:
  Folder() : path_(std::filesystem::temp_directory_path() / ("atoll-kernels-" + to_hex(some_bytes(8)))) { std::filesystem::create_directory(path_); }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

/// One batch of so many records of 100 bytes, durable; records.
void journal_append(benchmark::State& state) {
  SystemRandom random;
  PosixDisk disk;
  const Folder folder;
  const auto volume = random.id<VolumeId>();
  const SecretKey key = SecretKey::random(random);
  auto created = Journal::create(disk, folder.path(), volume, key);
  auto journal = created ? Journal::open(disk, folder.path(), volume, key, Lsn(0)) : fail(created.error());
  if (!journal) {
    state.SkipWithError(journal.error().what.c_str());
    return;
  }
  const auto records = static_cast<std::uint32_t>(state.range(0));
  const Bytes body = some_bytes(100 * records);
  for (auto _ : state)
    if (!(*journal)->append(body, records)) state.SkipWithError("a batch was not appended");
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations() * records));
}

/// So many new files in one transaction: an inode and an entry each; files.
void index_apply(benchmark::State& state) {
  PosixDisk disk;
  const Folder folder;
  auto index = IndexStore::create(disk, folder.path() + "/index.db");
  if (!index) {
    state.SkipWithError(index.error().what.c_str());
    return;
  }
  const auto files = static_cast<std::uint64_t>(state.range(0));
  std::uint64_t lsn = 0;
  std::uint64_t inode = 1;
  for (auto _ : state) {
    std::vector<IndexChanges> commits(1);
    commits.front().upto = Lsn(++lsn);
    for (std::uint64_t i = 0; i < files; ++i, ++inode) {
      InodeRow row;
      row.links = 1;
      EntryRow entry;
      entry.inode = InodeNumber(inode);
      entry.cookie = inode;
      commits.front().inodes.emplace_back(InodeNumber(inode), std::make_shared<const InodeRow>(row));
      commits.front().entries.emplace_back(EntryKey{InodeNumber(1), "file-" + std::to_string(inode)}, std::make_shared<const EntryRow>(entry));
    }
    if (!(*index)->apply(std::move(commits))) state.SkipWithError("a commit was not applied");
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations() * files));
}

BENCHMARK(seal)->Arg(4096)->Arg(extent_bytes_max);
BENCHMARK(seal_libsodium_alone)->Arg(4096)->Arg(extent_bytes_max);
BENCHMARK(seal_openssl_alone)->Arg(4096)->Arg(extent_bytes_max);
BENCHMARK(open)->Arg(4096)->Arg(extent_bytes_max);
BENCHMARK(leaf_mac);
BENCHMARK(encode)->Args({3, 6})->Args({8, 12})->Args({20, 29})->Args({29, 80})->Unit(benchmark::kMillisecond);
BENCHMARK(encode_isal_alone)
    ->Args({3, 6})
    ->Args({8, 12})
    ->Args({20, 29})
    ->Args({29, 80})
    ->Unit(benchmark::kMillisecond);
BENCHMARK(encode_isal_poly1305_alone)
    ->Args({3, 6})
    ->Args({8, 12})
    ->Args({20, 29})
    ->Args({29, 80})
    ->Unit(benchmark::kMillisecond);
BENCHMARK(rebuild)->Args({3, 6})->Args({8, 12})->Args({20, 29})->Args({29, 80});
BENCHMARK(rebuild_isal_alone)->Args({3, 6})->Args({8, 12})->Args({20, 29})->Args({29, 80});
BENCHMARK(journal_append)->Arg(1)->Arg(100)->UseRealTime();
BENCHMARK(index_apply)->Arg(100)->Arg(1000)->UseRealTime();

}  // namespace
}  // namespace atl

BENCHMARK_MAIN();
